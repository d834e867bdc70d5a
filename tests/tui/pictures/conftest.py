"""Where pictures are taken, nothing moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tui.fakes import FakeSource
from tests.tui.pictures.camera import unmoved
from tests.tui.pictures.scenes import MODELS


@pytest.fixture(autouse=True)
def posing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The working directory has known files, and there are known models."""
    place = tmp_path / "work"
    place.mkdir()
    for name in ("README.md", "notes.txt"):
        (place / name).write_text("a note\n")
    monkeypatch.chdir(place)
    monkeypatch.setattr("tui.model_source.source_for", lambda *_: FakeSource(*MODELS))
    with unmoved():
        yield
