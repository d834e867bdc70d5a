"""One running server for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.running import Running, running_server


@pytest.fixture(scope="session")
def server(demo_gguf: Path) -> Iterator[Running]:
    """The demo model on a socket, as served by default."""
    with running_server(demo_gguf) as running:
        yield running
