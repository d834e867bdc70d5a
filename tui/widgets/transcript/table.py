"""Tables, laid out to a width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len, set_cell_size

from tui.widgets.transcript.flow import flow, total
from tui.widgets.transcript.line import Line, Piece, Run, TableRow
from tui.widgets.transcript.styles import Styles

GAP = 3
# Narrower ones cut most words in two; a column that needs less has what it needs.
MIN_COLUMN = 6
# The columns' widths come from the header and so many rows: a long table that grows is not laid out again and again.
SAMPLE_ROWS = 100

Justify = Literal["left", "center", "right"]


@dataclass(frozen=True, slots=True)
class Cells:
    """A row's cells, how the row was written, and how the rule was that stands under it if it is a header."""

    runs: Sequence[Sequence[Run]]
    source: str = ""
    rule: str = ""


def _widest(runs: Sequence[Run]) -> int:
    if not any("\n" in text for text, _ in runs):
        return total(runs)
    return max(total([(line, runs[0][1])]) for line in "".join(text for text, _ in runs).split("\n"))


@dataclass(frozen=True, slots=True)
class Grid:
    """Columns beside each other; cells that do not fit are wrapped."""

    justify: Sequence[Justify]
    widths: Sequence[int]

    def header(self, cells: Cells, styles: Styles) -> list[Line]:
        """The lines of the header, and the one under it."""
        rule = "─┼─".join("─" * width for width in self.widths)
        return [*self.row(cells, styles), _rule_line(rule, cells.rule, styles)]

    def row(self, cells: Cells, styles: Styles) -> list[Line]:
        """The lines of a row."""
        columns = [flow(cells.runs[i], width) if i < len(cells.runs) else [] for i, width in enumerate(self.widths)]
        lines: list[Line] = []
        table = TableRow(cells.source, max(1, *map(len, columns)))
        for number in range(table.height):
            runs: list[Run] = []
            pieces: list[Piece] = []
            for i, column in enumerate(columns):
                if i:
                    runs.append((" │ ", styles.rule))
                part = column[number] if number < len(column) else Line([], "")
                before, after = _justified(part.content, self.justify[i], self.widths[i], styles)
                runs += before
                begin = sum(len(text) for text, _ in runs)
                pieces.append((begin, begin + len(part.text), part.join))
                runs += [*part.content, *after]
            line = _line(runs)
            line.table, line.cells = table, tuple(pieces)
            lines.append(line)
        return lines


@dataclass(frozen=True, slots=True)
class Records:
    """One cell below the other, each behind the name of its column, where columns would be too narrow to be read.

    Attributes:
        names: What stands before a cell: its column's header, as far as there is room for it; all equally wide.
        width: Cells for a name and what stands behind it.
    """

    names: Sequence[str]
    width: int

    @classmethod
    def of(cls, header: Cells, width: int) -> Records:
        """Records with the names of a header."""
        names = [" ".join("".join(text for text, _ in runs).split()) for runs in header.runs]
        room = min(max(map(cell_len, names)), max(2, width // 3))
        short = [name if cell_len(name) <= room else set_cell_size(name, room - 1).rstrip() + "…" for name in names]
        return cls([set_cell_size(f"{name}: ", room + 2) for name in short], width)

    def header(self, cells: Cells, styles: Styles) -> list[Line]:
        """All names, and a line under them."""
        runs: list[Run] = []
        pieces: list[tuple[int, int]] = []
        at = 0
        for i, cell in enumerate(cells.runs):
            runs += [(" │ ", styles.rule)] * bool(i)
            at += len(" │ ") * bool(i)
            runs += cell
            length = sum(len(text) for text, _ in cell)
            pieces.append((at, at + length))
            at += length
        lines = flow([(text.replace("\n", " "), style) for text, style in runs], self.width)
        table = TableRow(cells.source, len(lines))
        at = 0
        for line in lines:
            end = at + len(line.text)
            line.table = table
            line.cells = tuple(_within(piece, at, end, line.join) for piece in pieces)
            at = end + len(line.join)
        lines[-1].join = "\n"
        return [*lines, _rule_line("─" * self.width, cells.rule, styles)]

    def row(self, cells: Cells, styles: Styles) -> list[Line]:
        """An empty line, and those of a row."""
        lines: list[Line] = []
        nothing: Piece = (0, 0, "")
        label = cell_len(self.names[0])
        room = max(2, self.width - label)
        for i, name in enumerate(self.names):
            for number, line in enumerate(flow(cells.runs[i] if i < len(cells.runs) else [], room)):
                line.decorate(name if number == 0 else " " * label, styles.column)
                line.cells = tuple(
                    (0, len(line.text), line.join) if i == column else nothing for column in range(len(self.names))
                )
                line.join = "\n"
                lines.append(line)
        table = TableRow(cells.source, len(lines))
        for line in lines:
            line.table = table
        return [Line([], "", is_ornament=True), *lines]


def layout_of(sample: Sequence[Cells], justify: Sequence[Justify], width: int) -> Grid | Records:
    """How a table is laid out whose first rows, and before them its header, are known."""
    natural = [
        max((_widest(row.runs[i]) for row in sample if i < len(row.runs)), default=0) for i in range(len(justify))
    ]
    room = width - GAP * (len(justify) - 1)
    widths = fit(natural, room)
    return Grid(justify, widths) if sum(widths) <= room else Records.of(sample[0], width)


def _within(piece: tuple[int, int], begin: int, end: int, join: str) -> Piece:
    """What a line from ``begin`` to ``end`` has of a piece of a longer text."""
    first, last = max(piece[0], begin), min(piece[1], end)
    return (first - begin, last - begin, join) if first < last else (0, 0, "")


def _rule_line(text: str, source: str, styles: Styles) -> Line:
    line = Line.of(text, styles.rule)
    line.table, line.cells = TableRow(source, is_rule=True), ((0, len(text), ""),)
    return line


def _justified(piece: list[Run], justify: Justify, width: int, styles: Styles) -> tuple[list[Run], list[Run]]:
    """The blanks before and after a piece of a cell."""
    room = max(0, width - total(piece))
    left = room if justify == "right" else room // 2 if justify == "center" else 0
    return [(" " * left, styles.base)] * (left > 0), [(" " * (room - left), styles.base)] * (room > left)


def _line(runs: list[Run]) -> Line:
    # The blanks that fill the last column are no text.
    fill = None
    if runs and runs[-1][0].isspace():
        fill = runs.pop()
    return Line(runs, "".join(text for text, _ in runs), fill=fill)


def fit(natural: Sequence[int], room: int) -> list[int]:
    """Column widths that sum up to ``room`` at most, as long as each column can have :data:`MIN_COLUMN`; else to more.

    Narrow columns keep what they need; the wide ones share the rest.
    """
    widths = [max(1, column) for column in natural]
    while sum(widths) > room:
        widest = max(widths)
        if widest <= MIN_COLUMN:
            break
        # Cut the widest ones down together, to the next narrower one or to an equal share.
        at_widest = [i for i, column in enumerate(widths) if column == widest]
        below = max((column for column in widths if column < widest), default=MIN_COLUMN)
        rest = sum(column for column in widths if column < widest)
        target = max(below, (room - rest) // len(at_widest), MIN_COLUMN)
        target = min(target, widest - 1)
        for i in at_widest:
            widths[i] = target
    return widths
