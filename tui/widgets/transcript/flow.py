"""Running text, broken to a width.

Breaking is greedy from left to right, so that a text that grows changes nothing before the line it grows in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.cells import cell_len, split_graphemes

from tui.widgets.transcript.line import Line, Run

# No line begins with these: they belong to what is before them.
_CLOSING = frozenset("、。，．・：；？！」』】〕〉》）］｝〜ー々ぁぃぅぇぉっゃゅょァィゥェォッャュョ…‥’”,.!?:;)]}%")
_OPENING = frozenset("「『【〔〈《（［｛‘“([{")
# Characters of one cell each, whatever is beside them; what is not here is measured one by one.
_SINGLE = re.compile("[ -~\xa0-\xac\xae-\u02ff\u0370-\u0482\u2010-\u2027\u2190-\u21ff\u2500-\u25fc]*")
_NO_SPACE = re.compile(r"[^ ]")

Break = tuple[int, int, int]


def breaks(text: str, width: int) -> Iterator[Break]:
    """Where the lines of a text without newlines begin and end, and where the next one begins.

    What is between an end and the next beginning is white space that a soft wrap takes away. A word wider than a line
    is folded, and so may a run of wide characters be at any of them, but not before closing punctuation.
    """
    if _SINGLE.fullmatch(text):
        yield from _narrow(text, width)
    else:
        yield from _mixed(text, width)


def _narrow(text: str, width: int) -> Iterator[Break]:
    start, length = 0, len(text)
    while length - start > width:
        end = text.rfind(" ", start + 1, start + width + 1)
        while end > start and text[end - 1] == " ":
            end -= 1
        if end <= start:
            yield start, start + width, start + width
            start += width
            continue
        found = _NO_SPACE.search(text, end)
        after = found.start() if found else length
        yield start, end, after
        start = after
        if not found:
            return
    yield start, length, length


def _mixed(text: str, width: int) -> Iterator[Break]:
    spans, _ = split_graphemes(text)
    start, used = 0, 0
    place: tuple[int, int, int] | None = None  # where this line may end, where the next one begins, cells up to there
    has_ink = False
    for index, (begin, end, cells) in enumerate(spans):
        if text[begin] == " ":
            if not has_ink and used + cells > width:  # an indentation wider than a line
                yield start, begin, begin
                start, used = begin, 0
            used += cells
            if has_ink:
                place = (place[0] if place and place[1] == begin else begin, end, used)
            continue
        if used + cells > width and begin > start:
            if place is not None:
                yield start, place[0], place[1]
                start, used = place[1], used - place[2]
            if used + cells > width and begin > start:
                yield start, begin, begin
                start, used = begin, 0
            place = None
        used += cells
        has_ink = True
        following = spans[index + 1] if index + 1 < len(spans) else None
        if (
            following is not None
            and text[following[0]] != " "
            and (cells == 2 or following[2] == 2)
            and text[following[0]] not in _CLOSING
            and text[begin] not in _OPENING
        ):
            place = (end, end, used)
    tail = len(text)
    if place is not None and place[1] == tail and used > width:
        yield start, place[0], tail
    else:
        yield start, tail, tail


def flow(runs: Sequence[Run], width: int) -> list[Line]:
    """Lines of at most ``width`` cells. A newline in a run is a line's end."""
    lines: list[Line] = []
    text = "".join(run[0] for run in runs)
    cutter = _Cutter(runs)
    at = 0
    for paragraph in text.split("\n"):
        line: Line | None = None
        # A tab is as wide as a space here, and copied as a tab.
        for begin, end, after in breaks(paragraph.replace("\t", " "), width):
            shown = paragraph[begin:end]
            line = Line(cutter.cut(at + begin, at + end), shown, join=paragraph[end:after])
            lines.append(line)
        if line is not None:
            line.join += "\n"
        at += len(paragraph) + 1
    return lines


class _Cutter:
    """Pieces of runs, asked for from left to right."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = runs
        self._index = 0
        self._at = 0

    def cut(self, begin: int, end: int) -> list[Run]:
        pieces: list[Run] = []
        while begin < end:
            text, style = self._runs[self._index]
            if begin >= self._at + len(text):
                self._at += len(text)
                self._index += 1
                continue
            piece = text[begin - self._at : end - self._at]
            pieces.append((piece, style))
            begin += len(piece)
        return pieces


def total(runs: Sequence[Run]) -> int:
    """The cells of all runs."""
    return cell_len("".join(text for text, _ in runs).replace("\t", " "))


def runs_from(runs: Sequence[Run], begin: int) -> list[Run]:
    """What is left of runs after ``begin`` characters."""
    rest: list[Run] = []
    for text, style in runs:
        if begin < len(text):
            rest.append((text[begin:], style))
        begin = max(0, begin - len(text))
    return rest
