"""What the app looks like, in terminals of three sizes and three kinds of colours."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion
from textual.widgets import Input, TextArea

from localqwen.chats.store import Store
from localqwen.settings import Settings
from tests.tui.fakes import FakeConnection, FakeSource
from tests.tui.pictures.album import Album
from tests.tui.pictures.clock import Clock
from tests.tui.pictures.library import MODEL, fill
from tests.tui.pictures.scenes import MODELS, SCENES, Set, clear
from tests.tui.stage import staged

THEMES = {"dark": "localqwen-dark", "light": "localqwen-light", "ansi": "ansi-dark"}
SIZES = {"80x24": (80, 24), "120x40": (120, 40), "250x60": (250, 60), "50x16": (50, 16)}
# Each scene is seen in each size and in each theme; those with much text in all of them.
EVERYWHERE = ("answer_start", "answer_end")
TURNS = (
    ("80x24-dark", "120x40-light", "250x60-ansi"),
    ("80x24-light", "120x40-ansi", "250x60-dark"),
    ("80x24-ansi", "120x40-dark", "250x60-light"),
)
NARROW = {"50x16-dark": ("greeting", "answer_end", "answering", "commands", "help_", "settings", "models")}


def programme() -> dict[str, list[str]]:
    """Which scenes each terminal sees."""
    terminals: dict[str, list[str]] = {terminal: list(EVERYWHERE) for turn in TURNS for terminal in turn}
    for number, name in enumerate(name for name in SCENES if name not in EVERYWHERE):
        for terminal in TURNS[number % len(TURNS)]:
            terminals[terminal].append(name)
    return {**terminals, **{terminal: list(names) for terminal, names in NARROW.items()}}


@pytest.fixture(autouse=True)
def unmoved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No blinking, no animations, one time zone, and a working directory with known files."""
    for widget, toggle in ((Input, "_toggle_cursor"), (TextArea, "_toggle_cursor_blink_visible")):
        assert hasattr(widget, toggle)
        monkeypatch.setattr(widget, toggle, lambda _: None)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    place = tmp_path / "work"
    place.mkdir()
    for name in ("README.md", "notes.txt"):
        (place / name).write_text("a note\n")
    monkeypatch.chdir(place)
    monkeypatch.setattr("tui.handlers.machine.source_for", lambda *_: FakeSource(*MODELS))
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(("terminal", "scenes"), programme().items(), ids=programme().keys())
async def test_the_app_looks_as_it_was_accepted(
    terminal: str,
    scenes: list[str],
    store: Store,
    snapshot: SnapshotAssertion,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    size, theme = terminal.split("-")
    fill(store)
    settings = Settings(theme=THEMES[theme], animations=False)
    connection = FakeConnection(name=MODEL, window=32768)
    album, clock = Album(snapshot, tmp_path), Clock(monkeypatch)
    path = Path("settings.toml")
    async with staged(store, connection, settings=settings, settings_path=path, size=SIZES[size]) as stage:
        at = Set(stage, clock, frozenset(chat.id for chat in store.chats()))
        for name in scenes:
            await clear(at)
            await SCENES[name](at)
            await album.take(stage, name)
    album.close()
