"""The line at the bottom: the model and its state on the left, the answer's figures on the right."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TypeAlias

from rich.cells import cell_len
from textual.app import RenderResult
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from localqwen.chats.answer import Answer
from localqwen.device_memory import DeviceMemory
from localqwen.events import Loading, Ready
from localqwen.pace import Pace, duration
from tui.backend_state import Failed, State, Stopped
from tui.meters import Watch, loading_words, meters, parts
from tui.sanitize import SafeText, safe_line
from tui.theme import pale

BAR_CELLS = 16
Styled: TypeAlias = tuple[SafeText, str]
GAP = "  "


class StatusLine(Widget):
    """One line; each part is replaced when it changes."""

    DEFAULT_CSS = """
    StatusLine {
        height: 1;
    }
    """

    left: reactive[Content] = reactive(Content)
    right: reactive[tuple[SafeText, ...]] = reactive(())

    def show(
        self,
        model: str,
        state: State,
        answer: Answer | None,
        *,
        watch: Watch | None = None,
        loading: Pace | None = None,
        memory: tuple[DeviceMemory, ...] = (),
    ) -> None:
        """Say what the model and the open conversation's answer are doing.

        Args:
            model: Its name.
            state: The backend's.
            answer: The open conversation's last one.
            watch: What the clock says of it (:attr:`tui.backend.Asking.watch`).
            loading: How fast the model is loaded (:attr:`tui.backend.Backend.loading`).
            memory: How full the devices are (:attr:`tui.backend.Backend.memory`).
        """
        now = time.monotonic()
        self.left = _left(safe_line(model), state, activity(answer, watch, now), loading or Pace(), now, self._muted)
        # Sentences need the room, and nothing is measured then.
        self.right = () if isinstance(state, Failed) else tuple(parts(meters(answer, state, watch, memory)))

    def render(self) -> RenderResult:
        """Both parts, the right one at the edge; where it is narrow, the least important figures give way."""
        width = self.size.width
        right = GAP.join(fitting(self.right, width - min(self.left.cell_length, width // 2) - len(GAP)))
        left = self.left.truncate(max(0, width - cell_len(right) - 1), ellipsis=True)
        gap = " " * max(1, width - left.cell_length - cell_len(right))
        return Content.assemble(left, gap, (right, self._muted))

    @property
    def _muted(self) -> str:
        return pale(self.app.theme_variables, 55)


def fitting(figures: Sequence[SafeText], room: int) -> list[SafeText]:
    """As many of the figures, most important first, as ``room`` cells hold with gaps between them."""
    chosen: list[SafeText] = []
    for figure in figures:
        if cell_len(GAP.join([*chosen, figure])) > room:
            break
        chosen.append(figure)
    return chosen


def _left(model: SafeText, state: State, doing: str, loading: Pace, now: float, muted: str) -> Content:
    match state:
        case Stopped(reason):
            return Content.assemble(("○ ", "$warning"), model, (GAP + safe_line(reason), muted))
        case Failed(reason):
            return Content.assemble(("● ", "$error"), model, (GAP + safe_line(reason), "$error"))
        case Loading():
            return Content.assemble(
                ("● ", "$warning"), model, "  loading ", *bar(state.progress), f" {loading_words(state, loading, now)}"
            )
        case Ready():
            return Content.assemble(("● ", "$success"), model, (GAP + safe_line(doing), muted))
        case _:
            return Content.assemble(("● ", "$warning"), model, (GAP + "starting", muted))


def bar(part: float, cells: int = BAR_CELLS) -> tuple[Styled, Styled]:
    """A bar of so many cells, as two texts with their styles; it can be read without colours too."""
    done = round(min(max(part, 0.0), 1.0) * cells)
    return (safe_line("━" * done), "$primary"), (safe_line("╌" * (cells - done)), "$foreground 30%")


def activity(answer: Answer | None, watch: Watch | None = None, now: float = 0.0) -> str:
    """What the model does for this conversation, in a few words."""
    if answer is None or answer.is_over:
        return "ready"
    if answer.tokens:
        return "answering"
    if answer.prefill is not None and answer.prefill.done < answer.prefill.total:
        left = watch.reading_left(now) if watch is not None else None
        time_left = f", {duration(left)} left" if left is not None else ""
        return f"reading {answer.prefill.done}/{answer.prefill.total}{time_left}"
    return "thinking"
