"""The status line in narrow and wide terminals."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from textual.app import App, ComposeResult

from localqwen.device_memory import DeviceMemory
from localqwen.events import Loading, Prefill, Ready
from localqwen.pace import Pace
from tests.tui.test_meters import ANSWER, watched
from tui.backend_state import Failed, Starting, State, Stopped
from tui.sanitize import safe_line
from tui.widgets.status import GAP, StatusLine, activity, bar, fitting

MEMORY = (DeviceMemory("CUDA0", "A card", "gpu", 6 << 30, 8 << 30),)
ANSWERING = replace(ANSWER, prefill=Prefill(9, 9, 2.0), tokens=20, first_token_at=1.0, last_token_at=2.0)


class Line(App[None]):
    def compose(self) -> ComposeResult:
        yield StatusLine()


async def shown(state: State, width: int, loading: Pace | None = None) -> str:
    app = Line()
    async with app.run_test(size=(width, 3)) as pilot:
        line = app.query_one(StatusLine)
        answer = ANSWERING if isinstance(state, Ready) else None
        line.show("qwen2-7b", state, answer, loading=loading, memory=MEMORY)
        await pilot.pause()
        text = line.render_line(0).text
        assert len(text) == width
        return text


async def test_figures_give_way_where_it_is_narrow() -> None:
    ready = Ready("qwen2-7b", 4096)
    wide = await shown(ready, 120)
    assert wide.startswith("● qwen2-7b  answering")
    assert wide.rstrip().endswith("19.0 tok/s  context 29/4096  YaRN ×2  CUDA0 6.0/8.0 GiB")
    assert (await shown(ready, 52)).rstrip().endswith("19.0 tok/s  context 29/4096")
    assert (await shown(ready, 30)).strip() == "● qwen2-7b  answer… 19.0 tok/s"
    assert "qwen2" in await shown(ready, 12)


async def test_loading_tells_all_there_is() -> None:
    pace = Pace().at(0, 0).at(0.5, 8)
    text = await shown(Loading(0.5, 4_000_000_000, 8_000_000_000), 100, pace)
    assert "loading ━━━━━━━━╌╌╌╌╌╌╌╌ 50%, 4.0 of 8.0 GB" in text


async def test_what_went_wrong_has_the_whole_line() -> None:
    assert "It was killed\N{SYMBOL FOR ESCAPE}[2J." in await shown(Failed("It was killed\x1b[2J."), 60)
    assert (await shown(Stopped("Loading was cancelled."), 60)).startswith("○ qwen2-7b  Loading was cancelled.")
    assert "starting" in await shown(Starting(), 60)


def test_reading_tells_the_time_that_is_left() -> None:
    answer = replace(ANSWER, prefill=Prefill(500, 1000))
    watch = watched((100, Prefill(0, 1000)), (105, Prefill(500, 1000)))
    assert activity(answer, watch, 105) == "reading 500/1000, 5 s left"
    assert activity(answer) == "reading 500/1000"
    assert activity(None) == "ready"
    assert activity(ANSWER) == "thinking"


@given(st.lists(st.text("x", min_size=1, max_size=20), max_size=6), st.integers(-5, 100))
def test_the_most_important_figures_that_fit(figures: list[str], room: int) -> None:
    chosen = fitting([safe_line(figure) for figure in figures], room)
    assert chosen == figures[: len(chosen)]
    assert not chosen or len(GAP.join(chosen)) <= room


@given(st.floats(allow_nan=False))
def test_a_bar_has_always_its_length(part: float) -> None:
    assert sum(len(text) for text, _ in bar(part)) == 16
