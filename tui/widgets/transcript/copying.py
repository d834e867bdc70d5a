"""What is copied of a selection: whole blocks as they were written, parts of blocks as they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from textual.selection import Selection

from tui.sanitize import original
from tui.widgets.transcript.base import Entry, Passage
from tui.widgets.transcript.document import Document
from tui.widgets.transcript.line import Line, TableRow

# A line, and the first character of it that is selected and the one after the last, or ``None`` for its end.
Spanned = tuple[Line, int, int | None]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Selected lines; if they are whole blocks, how those were written."""

    lines: Sequence[Spanned]
    source: str | None = None
    is_code: bool = False

    @property
    def says_something(self) -> bool:
        return self.source is not None or any(line.text and not line.is_ornament for line, _, _ in self.lines)


def copied(document: Document, selection: Selection) -> str:
    """What a selection means: the original text, with the newlines of its author and no others.

    Blocks that are selected as a whole are their Markdown, and so is what stands between them. Code that is all there
    is of a selection is the code, without its fences.
    """
    look, (start, end) = document.look, selection
    if look is None or not document.entries:
        return ""
    first = max(0, start.y) if start is not None else 0
    last = min(end.y if end is not None else document.height, document.height - 1)
    pieces: list[_Piece] = []
    for index in range(document.at(first), document.at(last) + 1):
        top = document.top(index)
        lines = document.lines_of(index)
        selected: dict[int, Spanned] = {}
        for offset in range(max(0, first - top), min(len(lines), last + 1 - top)):
            if (span := selection.get_span(top + offset)) is not None:
                selected[offset] = lines[offset], span[0], None if span[1] == -1 else span[1]
        pieces += _pieces(document.entries[index], document.entries[index].passages(look), selected)
    if [piece.is_code for piece in pieces if piece.says_something] == [True]:
        return joined(line for piece in pieces for line in piece.lines)
    writer = _Writer()
    for piece in pieces:
        if piece.source is None:
            writer.add(piece.lines)
        else:
            writer.add_source(piece.source, piece.lines)
    return writer.text


def joined(spanned: Iterable[Spanned]) -> str:
    """The original of what is selected of some lines as they are shown; ornaments are no text.

    A row of a table that is selected as a whole is its source; of another row, the cells are separated by bars.
    """
    writer = _Writer()
    writer.add(spanned)
    return writer.text


def _pieces(entry: Entry, passages: Sequence[Passage], selected: Mapping[int, Spanned]) -> Iterator[_Piece]:
    """An entry's part of a selection: whole blocks that follow each other are one piece."""
    at = min(selected, default=0)
    whole: list[int] = []
    for number, passage in enumerate(passages):
        if _is_whole_block(passage, selected):
            whole.append(number)
    runs = groupby(enumerate(whole), lambda pair: pair[1] - pair[0])
    for numbers in ([number for _, number in run] for _, run in runs):
        source = entry.written(numbers[0], numbers[-1])
        if source is None:
            continue
        first, last = passages[numbers[0]], passages[numbers[-1]]
        yield _Piece(_between(selected, at, first.first))
        yield _Piece(_between(selected, first.first, last.end), source, first is last and first.kind == "code")
        at = last.end
    yield _Piece(_between(selected, at, max(selected, default=0) + 1))


def _between(selected: Mapping[int, Spanned], first: int, end: int) -> list[Spanned]:
    return [selected[offset] for offset in range(first, end) if offset in selected]


def _is_whole_block(passage: Passage, selected: Mapping[int, Spanned]) -> bool:
    """Whether all text of a block is selected, and the list mark if it begins with one."""
    is_first = True
    for offset in range(passage.first, passage.end):
        if offset not in selected:
            return False
        line, left, right = selected[offset]
        if line.is_ornament:
            continue
        if not _is_covered(line, left, right) or (is_first and line.lead and left >= line.start):
            return False
        is_first = False
    return True


def _is_covered(line: Line, left: int, right: int | None) -> bool:
    cells = line.cells or ((0, len(line.text), ""),)
    return all(line.start + begin >= left and (right is None or line.start + end <= right) for begin, end, _ in cells)


class _Writer:
    """Puts pieces together with what stood between them."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._join = ""

    @property
    def text(self) -> str:
        """All of it, less its controls."""
        return original("".join(self._pieces))

    def add_source(self, source: str, lines: Sequence[Spanned]) -> None:
        """Blocks as they were written; ``lines`` show them."""
        self._pieces += [self._join, source]
        inked = [line for line, _, _ in lines if not line.is_ornament]
        self._join = inked[-1].join if inked else "\n"

    def add(self, spanned: Iterable[Spanned]) -> None:
        """Lines as they are shown."""
        is_whole = False
        for table, group in groupby((one for one in spanned if not one[0].is_ornament), lambda one: one[0].table):
            lines = list(group)
            if table is None:
                for line, left, right in lines:
                    self._pieces += [self._join, line.copied(left, right)]
                    self._join = line.join
                continue
            # The rule belongs to the header: without all of that it is none.
            is_whole = _is_whole_row(table, lines) and (is_whole or not table.is_rule)
            text = lines[0][0].lead * (lines[0][1] < lines[0][0].start) + table.source if is_whole else _cells(lines)
            if text:
                self._pieces += [self._join, text]
                self._join = lines[-1][0].join


def _is_whole_row(table: TableRow, lines: Sequence[Spanned]) -> bool:
    return len(lines) == table.height and all(_is_covered(*line) for line in lines)


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
