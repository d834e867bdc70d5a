"""Text selections: what is copied of them, and how keys extend them. Positions are those of Textual: a line of the
document, and characters of it as they are shown, decoration counted.
"""

from __future__ import annotations

from rich.cells import split_graphemes
from textual.geometry import Offset
from textual.selection import Selection

from tui.widgets.transcript.document import Document


def copied(document: Document, selection: Selection) -> str:
    """What a selection means: the original text, with the newlines of its author and no others."""
    start, end = selection
    first = start.y if start is not None else 0
    last = end.y if end is not None else document.height - 1
    pieces: list[str] = []
    join = ""
    for y, line in enumerate(document.lines(max(0, first), min(last, document.height - 1)), max(0, first)):
        span = selection.get_span(y)
        if line is None or line.is_ornament or span is None:
            continue
        left, right = span
        pieces += [join, line.copied(left, None if right == -1 else right)]
        join = line.join
    return "".join(pieces)


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
