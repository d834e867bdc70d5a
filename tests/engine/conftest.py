"""One loaded engine for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localqwen.engine.engine import Engine
from localqwen.events import Ready
from tests.server.running import wait_until


@pytest.fixture(scope="session")
def engine(demo_gguf: Path) -> Iterator[Engine]:
    """The demo model, ready."""
    engine = Engine(demo_gguf)
    engine.start()
    wait_until(lambda: isinstance(engine.state, Ready), "the model is loaded")
    yield engine
    assert engine.close()
