"""The popup over the composer: what the word being typed could become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from tui.sanitize import SafeText, safe_cells
from tui.widgets.component import component_style

MOST_ROWS = 8
WIDEST = 100
NOTHING = SafeText("")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A row: what it says, which characters of it were typed, and a remark."""

    label: SafeText
    positions: tuple[int, ...] = ()
    remark: SafeText = NOTHING


class Completions(Widget):
    """At most eight rows, moved through by the composer's keys, the wheel and the mouse; never focused."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "completions--chosen",
        "completions--typed",
        "completions--remark",
    }

    DEFAULT_CSS = """
    Completions {
        overlay: screen;
        constrain: inside inside;
        display: none;
        height: auto;
        width: auto;
        background: $panel;
        color: $foreground;
        pointer: pointer;

        & > .completions--chosen {
            background: $block-cursor-background;
            color: $block-cursor-foreground;
        }

        & > .completions--typed {
            color: $primary;
            text-style: bold;
        }

        & > .completions--remark {
            color: $foreground-muted;
        }

        &:ansi > .completions--chosen {
            background: $background;
            color: $foreground;
            text-style: reverse;
        }

        &:ansi > .completions--remark {
            text-style: dim;
        }
    }
    """

    @dataclass
    class Chosen(Message):
        """Row ``index`` of what is offered was clicked."""

        index: int

    def __init__(self) -> None:
        super().__init__()
        self._suggestions: Sequence[Suggestion] = ()
        self._top = 0
        self._labels = 0
        self.index = 0
        """The row that would be accepted."""
        self.was_moved = False
        """Whether it was gone to, and not only is the first."""

    @property
    def is_open(self) -> bool:
        """Whether something is offered."""
        return bool(self._suggestions)

    def show(self, suggestions: Sequence[Suggestion]) -> None:
        """Offer these, the first of them chosen; none closes the popup."""
        if not suggestions and not self._suggestions:
            return
        self._suggestions, self.index, self._top, self.was_moved = suggestions, 0, 0, False
        self._labels = max((cell_len(row.label) for row in suggestions), default=0)
        rows = min(MOST_ROWS, len(suggestions))
        self.display = bool(suggestions)
        # Its place is the composer's first line inside the border; it ends above the border.
        self.styles.offset = (0, -rows - 1)
        self.refresh(layout=True)

    def move(self, step: int) -> None:
        """Choose another row, round and round."""
        if self._suggestions:
            self.was_moved = True
            self.index = (self.index + step) % len(self._suggestions)
            self._top = min(max(self._top, self.index - MOST_ROWS + 1), self.index)
            self.refresh()

    def render(self) -> Content:
        """The rows in view."""
        width = self._width
        return Content("\n").join(
            [
                self._row(number, self._suggestions[number], width)
                for number in range(self._top, min(self._top + MOST_ROWS, len(self._suggestions)))
            ]
        )

    @property
    def _width(self) -> int:
        remarks = max((cell_len(row.remark) for row in self._suggestions), default=0)
        # A row that is wider than the composer would be broken into several. (`container_size` is its own, of before.)
        room = self.parent.content_size.width if isinstance(self.parent, Widget) else 0
        room = room or self.app.size.width - 4
        return min(WIDEST, room, self._labels + remarks + (5 if remarks else 2))

    def _row(self, number: int, row: Suggestion, width: int) -> Content:
        label = Content(safe_cells(row.label))
        typed = self.get_visual_style("completions--typed", partial=True)
        for at in row.positions:
            label = label.stylize(typed, at, at + 1)
        line = Content(" ") + label
        if row.remark:
            gap = " " * (self._labels - label.cell_length + 3)
            line += gap + Content.styled(
                safe_cells(row.remark), self.get_visual_style("completions--remark", partial=True)
            )
        line = line.truncate(width, ellipsis=True, pad=True)
        return line.stylize_before(component_style(self, "completions--chosen")) if number == self.index else line

    def on_click(self, event: events.Click) -> None:
        """Accept the row under the mouse."""
        event.stop()
        if 0 <= event.y < min(MOST_ROWS, len(self._suggestions)):
            self.index = self._top + event.y
            self.post_message(self.Chosen(self.index))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Choose the row before."""
        event.stop()
        if self.index > 0:
            self.move(-1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Choose the row behind."""
        event.stop()
        if self.index < len(self._suggestions) - 1:
            self.move(1)
