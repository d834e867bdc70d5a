"""What the app looks like, in terminals of three sizes and three kinds of colours."""

from __future__ import annotations

from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from localqwen.chats.store import Store
from tests.tui.fakes import FakeConnection
from tests.tui.pictures.album import Album
from tests.tui.pictures.camera import DARK, posed
from tests.tui.pictures.clock import Clock
from tests.tui.pictures.library import MODEL, fill
from tests.tui.pictures.scenes import SCENES, Set, clear
from tests.tui.stage import staged

THEMES = {"dark": DARK, "light": "localqwen-light", "ansi": "ansi-dark"}
SIZES = {"80x24": (80, 24), "120x40": (120, 40), "250x60": (250, 60), "50x16": (50, 16)}
# What must fit into a terminal that is smaller than they usually are.
NARROW = ("greeting", "answer_end", "commands", "help_", "settings")


def programme() -> dict[str, list[str]]:
    """Which scenes each terminal sees: all of them, in three sizes and three kinds of colours."""
    terminals = {f"{size}-{theme}": list(SCENES) for size in ("80x24", "120x40", "250x60") for theme in THEMES}
    return {**terminals, "50x16-dark": list(NARROW)}


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
    connection = FakeConnection(name=MODEL, window=32768)
    album, clock = Album(snapshot, tmp_path), Clock(monkeypatch)
    path = Path("settings.toml")
    async with staged(store, connection, settings=posed(THEMES[theme]), settings_path=path, size=SIZES[size]) as stage:
        at = Set(stage, clock, frozenset(chat.id for chat in store.chats()))
        for name in scenes:
            await clear(at)
            await SCENES[name](at)
            await album.take(stage, name)
    album.close()
