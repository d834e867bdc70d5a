from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session

from localqwen.hub.http import Patience
from tests.fixtures.tiny import tiny_checkpoint
from tests.hub.mock_hub import MockHub, mock_hub

NAME = "Someone/Tiny-Instruct"
FILE = "{repo_id}/resolve/{revision}/{filename}"
# Backs off as usual, but in milliseconds.
HASTY = Patience(tries=4, first=0.001, longest=0.01)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """The tiny checkpoint in three shards, named as a clone of the mock repository would be."""
    (tmp_path / "source").mkdir()
    return tiny_checkpoint(tmp_path / "source" / "Tiny-Instruct", shards=3)


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[[MockHub], None]:
    """Points huggingface_hub, which reads its environment when it is imported, to a mock hub."""

    def point(hub: MockHub) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{hub.url}/{FILE}")
        monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)

    return point


@pytest.fixture
def hub(checkpoint: Path, connect: Callable[[MockHub], None]) -> Iterator[MockHub]:
    """A mock hub with the tiny checkpoint, in use."""
    with mock_hub({NAME: checkpoint}) as running:
        connect(running)
        yield running
    close_session()
