"""One laid-out line: what is shown, what of it is decoration, and how it joins the next line.

A selection is made of lines, but a person means the text: so each line knows its margin, bars and list marks, whether
it was broken by its author or only by the width, and, where tabs are shown as spaces, what stood there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from tui.sanitize import safe_cells
from tui.widgets.transcript.styles import Styles

Run = tuple[str, Style]
TAB_SIZE = 4
_JOINERS = ("\u200d", "\ufe0f")


class Colours(Protocol):
    """Text whose colours are found later than its place, such as code; its length never changes by them."""

    def version(self, row: int) -> object:
        """Something that equals another one where a row's colours are the same."""
        ...

    def runs(self, row: int, begin: int, end: int, styles: Styles) -> list[Run]:
        """The characters from ``begin`` to ``end`` of a row, with their styles."""
        ...


@dataclass(frozen=True, slots=True)
class Tabs:
    """A text with tabs, and where each of its characters begins in what is shown."""

    raw: str
    stops: tuple[int, ...]

    def between(self, begin: int, end: int) -> str:
        """What was written where these characters are shown."""
        return self.raw[bisect_left(self.stops, begin) : bisect_left(self.stops, end)]


def expand(text: str) -> tuple[str, Tabs | None]:
    """A text without newlines as it is shown, with spaces for tabs."""
    if "\t" not in text:
        return text, None
    shown: list[str] = []
    stops, at = [], 0
    for char in text:
        stops.append(at)
        piece = " " * (TAB_SIZE - at % TAB_SIZE) if char == "\t" else char
        shown.append(piece)
        at += len(piece)
    return "".join(shown), Tabs(text, tuple(stops))


@dataclass(frozen=True, slots=True, eq=False)
class TableRow:
    """A row of a table, which may take several lines.

    Attributes:
        source: How it was written.
        height: Its lines.
        is_rule: Whether it is the line under the header.
    """

    source: str
    height: int = 1
    is_rule: bool = False


# Of a row's cell, what one line has of it: its first character, the one after its last, what its next piece joins with.
Piece = tuple[int, int, str]


@dataclass(slots=True, eq=False)
class Line:
    """A line of the transcript. Its texts are inert, for they are what is copied; what is painted of them is safe.

    Attributes:
        content: The text itself, in runs of one style; empty where ``colours`` know it.
        text: The text itself.
        join: What stood between this line and the next one: a newline, the white space that a soft wrap took away,
            or nothing where a long word or a line of code was folded.
        before: Decoration on the left: margin, quote bars, list marks, the padding of code.
        fill: Decoration on the right.
        lead: What is copied for the decoration on the left when it is selected too, such as a list mark.
        is_ornament: Whether nothing of this line is text: a code's label, a rule under a heading, statistics.
        tabs: What was written, if it held tabs, and ``offset``, where this line begins in it.
        table: The row of a table that it shows, and ``cells``, where those are.
        colours: Where the content's colours are asked for, and ``row``, which line of it this is.
    """

    content: list[Run]
    text: str
    join: str = "\n"
    before: list[Run] = field(default_factory=list)
    fill: Run | None = None
    lead: str = ""
    is_ornament: bool = False
    tabs: Tabs | None = None
    offset: int = 0
    table: TableRow | None = None
    cells: tuple[Piece, ...] = ()
    colours: Colours | None = None
    row: int = 0
    _strip: Strip | None = None
    _version: object = None

    @classmethod
    def of(cls, text: str, style: Style, *, is_ornament: bool = False) -> Line:
        """A line in one style."""
        return cls([(text, style)] if text else [], text, is_ornament=is_ornament)

    @property
    def start(self) -> int:
        """The characters of decoration before the text."""
        return sum(len(text) for text, _ in self.before)

    def decorate(self, prefix: str, style: Style, lead: str | None = None) -> None:
        """Put decoration before all that is there already, and say what is copied for it."""
        self.before.insert(0, (prefix, style))
        if lead is not None:
            self.lead = lead + self.lead

    def copied(self, left: int = 0, right: int | None = None) -> str:
        """The original of the characters from ``left`` to ``right`` of what is shown, decoration counted."""
        if self.is_ornament:
            return ""
        start = self.start
        begin = max(0, left - start)
        end = len(self.text) if right is None else min(max(0, right - start), len(self.text))
        tabs, offset = self.tabs, self.offset
        piece = self.text[begin:end] if tabs is None else tabs.between(offset + begin, offset + end)
        return self.lead + piece if left < start and (piece or right is None) else piece

    def runs(self, styles: Styles) -> Iterator[Run]:
        """All that is shown, from left to right."""
        yield from self.before
        content = self.content
        if self.colours is not None:
            content = self.colours.runs(self.row, self.offset, self.offset + len(self.text), styles)
        yield from content if self.text.isascii() else _whole(content)
        if self.fill is not None:
            yield self.fill

    def strip(self, styles: Styles, width: int = 0) -> Strip:
        """The line as Textual paints it, filled up to ``width`` cells; made once for all its colours."""
        version = self.colours.version(self.row) if self.colours is not None else None
        if self._strip is None or self._version != version:
            base = styles.base
            strip = Strip([Segment(safe_cells(text), base + style) for text, style in self.runs(styles)])
            if width:
                strip = strip.crop_extend(0, width, base)
            self._strip = strip
            self._version = version
        return self._strip


def _whole(runs: list[Run]) -> list[Run]:
    """Runs that cut no grapheme in two, whose cells would be counted wrongly then."""
    whole: list[Run] = []
    for text, style in runs:
        if whole and (text[0] in _JOINERS or whole[-1][0][-1] == _JOINERS[0]):
            whole[-1] = (whole[-1][0] + text, whole[-1][1])
        else:
            whole.append((text, style))
    return whole
