"""The themes that promise contrast keep it for each letter of every scene."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.segment import Segment
from textual.color import Color

from localqwen.chats.store import Store
from tests.tui.contrast import ratio
from tests.tui.fakes import FakeConnection
from tests.tui.pictures.camera import posed, still
from tests.tui.pictures.clock import Clock
from tests.tui.pictures.library import MODEL, fill
from tests.tui.pictures.scenes import SCENES, Set, clear
from tests.tui.stage import Stage, staged

# WCAG 2.1, 1.4.6 (AAA).
WANTED = 7.0


def letters(stage: Stage) -> Iterator[tuple[int, str, Segment]]:
    """The line and the text of what can be read on the screen; of what lies under a dialog, nothing."""
    screen = stage.app.screen
    visible = screen._compositor.visible_widgets
    regions = {region.intersection(clip) for widget, (region, clip) in visible.items() if widget is not screen}
    for y, line in enumerate(screen._compositor.render_strips()):
        x = 0
        for segment in line:
            inside = any(region.contains(x, y) for region in regions)
            x += segment.cell_length
            if inside and any(unicodedata.category(sign)[0] in "LNP" for sign in segment.text):
                yield y, segment.text, segment


def contrast(segment: Segment) -> float:
    """Between letters and what is behind them."""
    style = segment.style
    assert style is not None
    assert style.color is not None
    assert style.bgcolor is not None
    assert not style.dim
    return ratio(Color.from_rich_color(style.color), Color.from_rich_color(style.bgcolor))


@pytest.mark.parametrize("theme", ["localqwen-contrast-dark", "localqwen-contrast-light"])
async def test_every_letter_of_every_scene_has_contrast(
    theme: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    connection, clock, path = FakeConnection(name=MODEL, window=32768), Clock(monkeypatch), Path("settings.toml")
    faint: dict[str, float] = {}
    async with staged(store, connection, settings=posed(theme), settings_path=path, size=(120, 40)) as stage:
        at = Set(stage, clock, frozenset(chat.id for chat in store.chats()))
        for name, scene in SCENES.items():
            await clear(at)
            await scene(at)
            await still(stage)
            seen = 0
            for y, text, segment in letters(stage):
                seen += 1
                if (found := contrast(segment)) < WANTED:
                    faint.setdefault(f"{name}, line {y}: {text.strip()!r}", round(found, 2))
            assert seen, name
    assert not faint, "\n".join(f"{ratio} {where}" for where, ratio in faint.items())
