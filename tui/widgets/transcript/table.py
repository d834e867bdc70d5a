"""Tables, laid out to a width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tui.widgets.transcript.flow import flow, total
from tui.widgets.transcript.line import Line, Piece, Run, TableRow
from tui.widgets.transcript.styles import Styles

GAP = 3
MIN_COLUMN = 4
# The columns' widths come from the header and so many rows: a long table that grows is not laid out again and again.
SAMPLE_ROWS = 100

Justify = Literal["left", "center", "right"]


@dataclass(frozen=True, slots=True)
class Cells:
    """A row's cells, how the row was written, and how the rule was that stands under it if it is a header."""

    runs: Sequence[Sequence[Run]]
    source: str = ""
    rule: str = ""


def natural_widths(rows: Sequence[Cells], columns: int) -> list[int]:
    """The cells that each column needs so that nothing of these rows is wrapped."""
    return [max((_widest(row.runs[i]) for row in rows if i < len(row.runs)), default=0) for i in range(columns)]


def _widest(runs: Sequence[Run]) -> int:
    if not any("\n" in text for text, _ in runs):
        return total(runs)
    return max(total([(line, runs[0][1])]) for line in "".join(text for text, _ in runs).split("\n"))


def row_lines(cells: Cells, justify: Sequence[Justify], widths: Sequence[int], styles: Styles) -> list[Line]:
    """The lines of a row; cells that do not fit are wrapped."""
    columns = [flow(cells.runs[i], width) if i < len(cells.runs) else [] for i, width in enumerate(widths)]
    lines: list[Line] = []
    table = TableRow(cells.source, max(1, *map(len, columns)))
    for number in range(table.height):
        runs: list[Run] = []
        pieces: list[Piece] = []
        for i, column in enumerate(columns):
            if i:
                runs.append((" │ ", styles.rule))
            part = column[number] if number < len(column) else Line([], "")
            before, after = _justified(part.content, justify[i], widths[i], styles)
            runs += before
            begin = sum(len(text) for text, _ in runs)
            pieces.append((begin, begin + len(part.text), part.join))
            runs += [*part.content, *after]
        line = _line(runs)
        line.table, line.cells = table, tuple(pieces)
        lines.append(line)
    return lines


def rule_line(widths: Sequence[int], styles: Styles, source: str) -> Line:
    """The line under the header."""
    line = Line.of("─┼─".join("─" * width for width in widths), styles.rule)
    line.table, line.cells = TableRow(source, is_rule=True), ((0, len(line.text), ""),)
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
    """Column widths that sum up to ``room`` at most, as long as each column can have :data:`MIN_COLUMN`.

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
