"""Text selections: what is copied of them, and how keys extend them. Positions are those of Textual: a line of the
document, and characters of it as they are shown, decoration counted.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, groupby

from rich.cells import split_graphemes
from textual.geometry import Offset
from textual.selection import Selection

from tui.sanitize import original
from tui.widgets.transcript.document import Document, Move
from tui.widgets.transcript.line import Line, TableRow

# A line, and the first character of it that is selected and the one after the last, or ``None`` for its end.
Spanned = tuple[Line, int, int | None]


def copied(document: Document, selection: Selection) -> str:
    """What a selection means: the original text, with the newlines of its author and no others."""
    start, end = selection
    first = start.y if start is not None else 0
    last = end.y if end is not None else document.height - 1
    spanned: list[Spanned] = []
    for y, line in enumerate(document.lines(max(0, first), min(last, document.height - 1)), max(0, first)):
        span = selection.get_span(y)
        if line is None or line.is_ornament or span is None:
            continue
        left, right = span
        spanned.append((line, left, None if right == -1 else right))
    return joined(spanned)


def joined(spanned: Iterable[Spanned]) -> str:
    """The original of what is selected of some lines; ornaments are no text.

    A row of a table that is selected as a whole is its source; of another row, the cells are separated by bars.
    """
    pieces: list[str] = []
    join = ""
    is_whole = False
    for table, group in groupby((one for one in spanned if not one[0].is_ornament), lambda one: one[0].table):
        lines = list(group)
        if table is None:
            for line, left, right in lines:
                pieces += [join, line.copied(left, right)]
                join = line.join
            continue
        # The rule belongs to the header: without all of that it is none.
        is_whole = _is_whole(table, lines) and (is_whole or not table.is_rule)
        text = lines[0][0].lead * (lines[0][1] < lines[0][0].start) + table.source if is_whole else _cells(lines)
        if text:
            pieces += [join, text]
            join = lines[-1][0].join
    return original("".join(pieces))


def _is_whole(table: TableRow, lines: Sequence[Spanned]) -> bool:
    return len(lines) == table.height and all(
        line.start + begin >= left and (right is None or line.start + end <= right)
        for line, left, right in lines
        for begin, end, _ in line.cells
    )


def _cells(lines: Sequence[Spanned]) -> str:
    """What is selected of a row's cells, each put together again."""
    if lines[0][0].table is not None and lines[0][0].table.is_rule:
        return ""
    cells = [""] * len(lines[0][0].cells)
    joins = [""] * len(cells)
    for line, left, right in lines:
        for column, (begin, end, join) in enumerate(line.cells):
            first = max(begin, left - line.start)
            last = end if right is None else min(end, right - line.start)
            if first < last:
                cells[column] += joins[column] + line.text[first:last]
                joins[column] = join if last == end else ""
    return " | ".join(cell for cell in cells if cell)


_WORD = re.compile(r"\w+|\s+|[^\w\s]+")


def word_at(document: Document, place: Offset) -> Selection | None:
    """The word at a place, over the lines it is folded to; white space and signs are words of their own."""
    line = document.line(place.y)
    if line is None or line.is_ornament or not 0 <= place.x - line.start < len(line.text):
        return None
    first = last = place.y
    while (before := document.line(first - 1)) is not None and before.join == "" and not before.is_ornament:
        first -= 1
    while (after := document.line(last)) is not None and after.join == "":
        last += 1
    lines = [one for one in document.lines(first, last) if one is not None]
    starts = list(accumulate((len(one.text) for one in lines), initial=0))
    at = starts[place.y - first] + place.x - line.start
    word = next(found for found in _WORD.finditer("".join(one.text for one in lines)) if found.end() > at)

    def offset(index: int, *, is_end: bool) -> Offset:
        row = (bisect_left(starts, index) if is_end else bisect_right(starts, index)) - 1
        return Offset(lines[row].start + index - starts[row], first + row)

    return Selection(offset(word.start(), is_end=False), offset(word.end(), is_end=True))


def block_at(document: Document, y: int) -> Selection | None:
    """The block that a line belongs to."""
    if document.look is None or not document.entries:
        return None
    index = document.at(y)
    lines, top = document.lines_of(index), document.top(index)
    for passage in document.entries[index].passages(document.look):
        if passage.first <= y - top < passage.end:
            inked = [at for at in range(passage.first, passage.end) if not lines[at].is_ornament]
            if inked:
                last = lines[inked[-1]]
                return Selection(Offset(0, top + inked[0]), Offset(last.start + len(last.text), top + inked[-1]))
    return None


def moved(place: Offset, moves: Iterable[Move]) -> Offset:
    """Where a place is after lines have moved, one time after the other."""
    y = place.y
    for first, change in moves:
        if y >= first:
            y += change
    return Offset(place.x, y)


def extended(document: Document, head: Offset, move: str, page: int) -> Offset:
    """Where the moving end of a selection goes.

    Args:
        document: What is selected in.
        head: Where it is.
        move: ``left``, ``right``, ``up``, ``down``, ``home``, ``end``, ``pageup`` or ``pagedown``.
        page: The lines of a page.
    """
    match move:
        case "left" | "right":
            return _sideways(document, head, -1 if move == "left" else 1)
        case "home" | "end":
            return Offset(_bounds(document, head.y)[move == "end"], head.y)
        case _:
            lines = {"up": -1, "down": 1, "pageup": -page, "pagedown": page}[move]
            return Offset(head.x, max(0, min(head.y + lines, document.height - 1)))


def _bounds(document: Document, y: int) -> tuple[int, int]:
    """Where the text of a line begins and ends."""
    line = document.line(y)
    if line is None or line.is_ornament:
        return 0, 0
    return line.start, line.start + len(line.text)


def _sideways(document: Document, head: Offset, direction: int) -> Offset:
    left, right = _bounds(document, head.y)
    x = min(max(head.x, left), right)
    line = document.line(head.y)
    text = line.text if line is not None else ""
    stops = [left, *(left + end for _, end, _ in split_graphemes(text)[0])] if right > left else [left]
    following = [stop for stop in stops if stop > x] if direction > 0 else [stop for stop in stops if stop < x][::-1]
    if following:
        return Offset(following[0], head.y)
    y = head.y + direction
    while 0 <= y < document.height:
        beyond = document.line(y)
        if beyond is not None and not beyond.is_ornament:
            return Offset(_bounds(document, y)[0 if direction > 0 else 1], y)
        y += direction
    return head
