"""The attachments of a draft, in a row: what they are, how big, and a cross that takes one away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.widget import Widget

from localqwen.chats.attachment import Attachment
from tui.byte_size import human_size
from tui.sanitize import SafeText, safe, safe_cells, safe_line
from tui.widgets.component import component_style

MOST_ROWS = 3
LONGEST_NAME = 40
CROSS = " ×"


@dataclass(frozen=True, slots=True)
class Chip:
    """An attachment, measured once: it may have megabytes."""

    attachment: Attachment
    size: int
    lines: int
    tokens: int | None = None

    @classmethod
    def of(cls, attachment: Attachment) -> Chip:
        """Measure an attachment."""
        text = attachment.text
        lines = text.count("\n") + (not text.endswith("\n") and bool(text))
        return cls(attachment, len(text.encode("utf-8", "replace")), lines)

    def with_tokens(self, tokens: int | None) -> Chip:
        """The same with its number of tokens."""
        return replace(self, tokens=tokens)

    @property
    def label(self) -> SafeText:
        """``pasted text 1 · 1.0 MiB · 24,310 lines``; of a long name the end, which tells more of a path."""
        name = safe_line(self.attachment.name)
        if len(name) > LONGEST_NAME:
            name = safe("…" + name[1 - LONGEST_NAME :])
        lines = "1 line" if self.lines == 1 else f"{self.lines:,} lines"
        tokens = "" if self.tokens is None else f" · {self.tokens:,} tokens"
        return safe(f"{name} · {human_size(self.size)} · {lines}{tokens}")


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a chip lies: ``index`` is its number, columns from ``left`` up to ``right``, the cross at the end."""

    index: int
    row: int
    left: int
    right: int
    text: SafeText


def arrange(labels: Sequence[SafeText], width: int) -> list[Spot]:
    """Chips in rows of ``width`` columns, one column apart; a label that is too long is cut."""
    spots: list[Spot] = []
    row = left = 0
    for index, label in enumerate(labels):
        room = max(1, width - 2 - len(CROSS))
        text = label if cell_len(label) <= room else safe(_cut(label, room - 1) + "…")
        cells = cell_len(text) + 2 + len(CROSS)
        if left and left + cells > width:
            row, left = row + 1, 0
        spots.append(Spot(index, row, left, left + cells, text))
        left += cells + 1
    return spots


class Chips(Widget):
    """The row (at most three of them). It is no stop for the focus: the composer has the keys for it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"chips--chip", "chips--marked", "chips--cross"}

    DEFAULT_CSS = """
    Chips {
        height: auto;
        width: 1fr;
        display: none;
        pointer: pointer;

        &.-some {
            display: block;
        }

        & > .chips--chip {
            background: $primary 18%;
            color: $foreground;
        }

        & > .chips--marked {
            background: $error 60%;
            color: $foreground;
            text-style: bold;
        }

        & > .chips--cross {
            color: $text-muted;
        }

        &:ansi > .chips--chip {
            background: $background;
            text-style: underline;
        }

        &:ansi > .chips--marked {
            background: $background;
            text-style: reverse;
        }
    }
    """

    @dataclass
    class Dropped(Message):
        """The cross of chip ``index`` was clicked."""

        index: int

    def __init__(self) -> None:
        super().__init__()
        self._chips: tuple[Chip, ...] = ()
        self._marked: int | None = None

    def show(self, chips: tuple[Chip, ...], marked: int | None = None) -> None:
        """Show these, with one of them marked: the next key takes it away."""
        if (chips, marked) == (self._chips, self._marked):
            return
        self._chips, self._marked = chips, marked
        self.set_class(bool(chips), "-some")
        self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many rows as the chips need, up to three."""
        return self.rows(width)

    def rows(self, width: int) -> int:
        """How many rows the chips take in so many columns."""
        spots = self._spots(width)
        return min(MOST_ROWS, spots[-1].row + 1) if spots else 0

    def render(self) -> Content:
        """All chips that have room; the last row says how many have none."""
        chip, marked = component_style(self, "chips--chip"), component_style(self, "chips--marked")
        cross = self.get_visual_style("chips--cross", partial=True)
        spots = self._spots(self.content_size.width)
        rows: list[Content] = []
        for number in range(self.rows(self.content_size.width)):
            row = Content("")
            for spot in (spot for spot in spots if spot.row == number):
                is_marked = spot.index == self._marked
                row += Content.assemble(
                    " " if spot.left else "",
                    Content.styled(f" {safe_cells(spot.text)}", marked if is_marked else chip),
                    Content.styled(CROSS + " ", marked if is_marked else chip + cross),
                )
            rows.append(row)
        if hidden := sum(spot.row >= MOST_ROWS for spot in spots):
            last = Content(f" and {hidden} more")
            rows[-1] = rows[-1].truncate(max(0, self.content_size.width - last.cell_length), ellipsis=True) + last
        return Content("\n").join(rows)

    def on_click(self, event: events.Click) -> None:
        """Take the chip away whose cross is clicked."""
        event.stop()
        for spot in self._spots(self.content_size.width):
            if spot.row == event.y < MOST_ROWS and spot.right - len(CROSS) - 1 <= event.x < spot.right:
                self.post_message(self.Dropped(spot.index))

    def _spots(self, width: int) -> list[Spot]:
        return arrange([chip.label for chip in self._chips], width)


def _cut(text: str, room: int) -> str:
    while text and cell_len(text) > room:
        text = text[: min(len(text) - 1, room)]
    return text
