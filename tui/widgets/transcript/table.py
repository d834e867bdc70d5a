"""Tables, laid out to a width."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, JustifyMethod
from rich.text import Text

from tui.widgets.transcript.styles import Styles

GAP = 3
MIN_COLUMN = 4


def lay_out(
    rows: Sequence[Sequence[Text]],
    justify: Sequence[JustifyMethod],
    width: int,
    styles: Styles,
    console: Console,
) -> list[Text]:
    """The lines of a table whose first row is its header; cells that do not fit are wrapped."""
    columns = len(justify)
    natural = [max((row[i].cell_len for row in rows if i < len(row)), default=0) for i in range(columns)]
    widths = fit(natural, width - GAP * (columns - 1))
    lines: list[Text] = []
    for number, row in enumerate(rows):
        cells = [
            list(cell.wrap(console, widths[i], justify=justify[i], overflow="fold")) or [Text()]
            for i, cell in enumerate(row[:columns])
        ]
        for line in range(max(map(len, cells), default=0)):
            text = Text()
            for i, cell in enumerate(cells):
                piece = cell[line].copy() if line < len(cell) else Text()
                piece.truncate(widths[i], pad=False)
                piece.pad_right(widths[i] - piece.cell_len)
                if i:
                    text.append(" │ ", styles.rule)
                text.append_text(piece)
            if number == 0:
                text.stylize(styles.strong)
            lines.append(text)
        if number == 0:
            lines.append(Text("─┼─".join("─" * column for column in widths), styles.rule))
    return lines


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
