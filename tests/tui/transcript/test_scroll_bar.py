"""The scroll bar is painted as Textual's, but only when it looks different."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.segment import Segments
from textual.app import App, ComposeResult
from textual.color import Color
from textual.geometry import Region
from textual.scrollbar import ScrollBarRender

from tests.tui.transcript.host import WORDS, Host
from tui.sanitize import SafeText
from tui.widgets.transcript.answer import AnswerEntry
from tui.widgets.transcript.entry import PersonEntry
from tui.widgets.transcript.scroll_bar import SteadyScrollBar, thumb


def looks(size: int, window: int, virtual: int, position: float) -> list[str]:
    """What Textual paints."""
    bar = ScrollBarRender.render_bar(
        size,
        virtual,
        window,
        position,
        back_color=Color.parse("red").rich_color,
        bar_color=Color.parse("blue").rich_color,
    )
    assert isinstance(bar, Segments)
    return [f"{text}{style}" for text, style, _ in bar.segments]


@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(1, 10_000),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_equal_thumbs_look_equal(size: int, window: int, virtual: int, places: tuple[float, float]) -> None:
    one, two = (int(place * max(0, virtual - window) * 8) / 8 for place in places)
    if thumb(size, window, virtual, one) == thumb(size, window, virtual, two) and virtual > window:
        assert looks(size, window, virtual, one) == looks(size, window, virtual, two)


async def test_lines_that_move_no_thumb_do_not_paint_it(monkeypatch: pytest.MonkeyPatch) -> None:
    growing = AnswerEntry(SafeText("model"))
    growing.set_text("begin")
    app = Host([*(PersonEntry(WORDS * 4) for _ in range(400)), growing])
    async with app.run_test(size=(60, 20)) as pilot:
        bar = app.view.vertical_scrollbar
        await pilot.pause()
        while not app.view.is_settled:
            await pilot.pause()
        painted = Counter[str]()
        refresh = bar.refresh

        def counted(*regions: Region, **options: bool) -> SteadyScrollBar:
            painted["times"] += 1
            return refresh(*regions, **options)

        monkeypatch.setattr(bar, "refresh", counted)
        height = app.view.virtual_size.height
        for number in range(20):
            growing.set_text(growing.text + f"\n\n{number}")
            app.view.entry_changed(growing)
            while not app.view.is_settled:
                await pilot.pause()
        assert app.view.virtual_size.height > height + 30
        assert bar.window_virtual_size == app.view.virtual_size.height
        assert not painted
        await pilot.press("home")
        await pilot.pause()
        assert painted


async def test_it_follows_every_change_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bare(App[None]):
        def compose(self) -> ComposeResult:
            yield SteadyScrollBar(thickness=1)

    app = Bare()
    async with app.run_test(size=(20, 10)):
        bar = app.query_one(SteadyScrollBar)
        refreshed: list[str] = []
        monkeypatch.setattr(bar, "refresh", lambda **_: refreshed.append("again"))
        for change in ({"window_size": 5}, {"window_virtual_size": 40}, {"position": 30.0}):
            before = len(refreshed)
            for name, value in change.items():
                setattr(bar, name, value)
            assert len(refreshed) > before, change
        before = len(refreshed)
        with bar.held():
            bar.position = 3.0
            bar.position = 30.0
        assert len(refreshed) == before
