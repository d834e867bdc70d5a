"""What a transcript lists besides answers: a person's message, one that waits, and notes of the program."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.style import Style

from tui.byte_size import human_size
from tui.sanitize import SafeText, inert, original
from tui.widgets.transcript.base import Entry, Look, estimate_lines, title, with_margin
from tui.widgets.transcript.flow import breaks, total
from tui.widgets.transcript.line import Line, Run, expand
from tui.widgets.transcript.styles import Styles

__all__ = ["Entry", "Named", "NoteEntry", "PersonEntry", "QueuedEntry"]

# A file's name, and its size in bytes.
Named = tuple[SafeText, int]
_BAR = 4


class PersonEntry(Entry):
    """What a person typed: shown as it was typed, for it is no Markdown until they say so."""

    def __init__(self, text: str, attachments: Sequence[Named] = (), *, key: int | None = None) -> None:
        super().__init__(key)
        self._text = inert(text)
        self._attachments = list(attachments)

    @property
    def text(self) -> str:
        """What was typed, but for control characters."""
        return original(self._text)

    def estimate(self, look: Look) -> int:
        return estimate_lines(self._text, look.text_width - _BAR - 1) + 3 + bool(self._attachments)

    def _render(self, look: Look) -> None:
        self.changed_from = 0
        styles = look.styles
        text_style, bar_style = self._colours(styles)
        lines = [_blank(), *plain_lines(self._text, text_style, look.text_width - _BAR)]
        if self._attachments:
            lines += _chips(self._attachments, look.text_width - _BAR, styles)
        lines += self._remarks(styles)
        lines.append(_blank())
        for line in lines:
            line.fill = (" " * max(0, look.text_width - _BAR + 2 - total(line.content)), text_style)
            line.decorate("  ", text_style)
            line.decorate("▌", bar_style)
            line.decorate(" ", styles.base)
        if self.branch is not None:
            lines.insert(0, title(SafeText("You"), look, self.key, self.branch))
        self._lines = [*lines, Line([], "")]

    def _colours(self, styles: Styles) -> tuple[Style, Style]:
        return styles.person, styles.person_bar

    def _remarks(self, styles: Styles) -> list[Line]:
        return []


class QueuedEntry(PersonEntry):
    """A message that will be sent when the answer that is under way has ended, or when a person says so."""

    def __init__(self, text: str, files: Sequence[Named] = (), *, is_due: bool = True) -> None:
        super().__init__(text, files)
        self._remark = SafeText("queued" if is_due else "waits for /send-queue")

    @property
    def is_message(self) -> bool:
        """It was not said yet."""
        return False

    def _colours(self, styles: Styles) -> tuple[Style, Style]:
        return styles.queued, styles.queued

    def _remarks(self, styles: Styles) -> list[Line]:
        return [Line.of(self._remark, styles.queued_mark, is_ornament=True)]


class NoteEntry(Entry):
    """A remark of the program itself, such as the greeting of an empty conversation."""

    def __init__(self, lines: Iterable[tuple[SafeText, str]]) -> None:
        """``lines`` pair a text with the name of its style in :class:`Styles`."""
        super().__init__()
        self._notes = list(lines)

    @property
    def text(self) -> str:
        """The remark."""
        return "\n".join(text for text, _ in self._notes)

    @property
    def is_message(self) -> bool:
        """Nobody said this."""
        return False

    def estimate(self, look: Look) -> int:
        return len(self._notes) + 2

    def _render(self, look: Look) -> None:
        self.changed_from = 0
        lines = [Line([], "", is_ornament=True)]
        for text, style in self._notes:
            lines += plain_lines(text, getattr(look.styles, style), look.text_width)
        self._lines = [*with_margin(lines, look.styles), Line([], "")]


def plain_lines(text: str, style: Style, width: int) -> list[Line]:
    """The lines of a text as it was typed, tabs shown as spaces."""
    lines: list[Line] = []
    for paragraph in text.split("\n"):
        shown, tabs = expand(paragraph)
        for begin, end, after in breaks(shown, max(width, 2)):
            piece = shown[begin:end]
            join = shown[end:after] if tabs is None else tabs.between(end, after)
            lines.append(Line([(piece, style)] if piece else [], piece, join=join, tabs=tabs, offset=begin))
        lines[-1].join += "\n"
    return lines


def _chips(attachments: Sequence[Named], width: int, styles: Styles) -> list[Line]:
    """Names and sizes, as many beside each other as there is room for."""
    rows: list[list[Run]] = []
    used = width
    for name, size in attachments:
        label = f" {_shortened(name, width - 14)} · {human_size(size)} "
        cells = total([(label, styles.chip)])
        if rows and used + 1 + cells <= width:
            rows[-1] += [(" ", styles.person), (label, styles.chip)]
            used += 1 + cells
        else:
            rows.append([(label, styles.chip)])
            used = cells
    return [Line(row, "".join(text for text, _ in row), is_ornament=True) for row in rows]


def _shortened(name: SafeText, width: int) -> str:
    pieces = list(breaks(name, max(width, 4)))
    return name if len(pieces) == 1 else name[: pieces[0][1] - 1] + "…"


def _blank() -> Line:
    return Line([], "", is_ornament=True)
