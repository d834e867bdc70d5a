"""Text selections: what clicks select, and how keys extend them. Positions are those of Textual: a line of the
document, and characters of it as they are shown, decoration counted.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import accumulate

from rich.cells import split_graphemes
from textual.geometry import Offset
from textual.selection import Selection

from tui.widgets.transcript.document import Document, Move

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
