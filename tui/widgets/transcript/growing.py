"""The lines of one top-level block, which may grow: what is settled of it is laid out once.

Without this a list of 500 items, a long table, a long fence or one endless paragraph would be laid out as a whole at
each frame, and would cost more with each word.
"""

from __future__ import annotations

from itertools import accumulate

from markdown_it.token import Token

from tui.widgets.transcript.code import Code, code_lines, code_of
from tui.widgets.transcript.flow import flow, runs_from
from tui.widgets.transcript.inline import inline_runs
from tui.widgets.transcript.line import Line, Run
from tui.widgets.transcript.render import BlockRenderer, alignments, first_number, is_loose
from tui.widgets.transcript.stream import Block
from tui.widgets.transcript.table import SAMPLE_ROWS, Cells, Grid, Justify, Records, layout_of
from tui.widgets.transcript.tree import Span, children


class Growing:
    """Lays a block out, again and again while it grows. This one starts from nothing each time.

    Attributes:
        lines: Those of the last :meth:`update`, without the transcript's margin.
    """

    def __init__(self, renderer: BlockRenderer) -> None:
        self.lines: list[Line] = []
        self._renderer = renderer
        self._settled = 0  # lines

    def update(self, block: Block) -> int:
        """Lay out what changed; returns how many of the first lines are the same objects as before."""
        self.lines[:] = self._renderer.render(block.tokens)
        return 0

    def _keep(self) -> int:
        del self.lines[self._settled :]
        return self._settled


class GrowingList(Growing):
    """Settled items stay."""

    def __init__(self, renderer: BlockRenderer) -> None:
        super().__init__(renderer)
        self._tokens = 1
        self._number: int | None = None
        self._last: Span | None = None

    def update(self, block: Block) -> int:
        tokens = block.tokens
        kept = self._keep()
        before = self._last
        number = first_number(tokens[0]) if before is None else self._number
        for item in children(tokens, self._tokens, len(tokens) - 1):
            if before is not None and is_loose(tokens, before):
                self.lines.append(Line([], ""))
            self.lines += self._renderer.item(tokens, item, number, self._renderer.width)
            number = None if number is None else number + 1
            before = item
            if item[1] <= block.settled:
                self._settled, self._tokens = len(self.lines), item[1]
                self._number, self._last = number, item
        return kept


class GrowingTable(Growing):
    """Settled rows stay, unless one of the sample makes the columns others."""

    def __init__(self, renderer: BlockRenderer) -> None:
        super().__init__(renderer)
        self._tokens = 0
        # All of the header's and the sample's cells: they are laid out again when the columns change.
        self._rows: list[Cells] = []
        self._layout: Grid | Records | None = None

    def update(self, block: Block) -> int:
        tokens, renderer = block.tokens, self._renderer
        head = next(children(tokens, 2))
        header = renderer.cells(tokens, head, is_header=True) if not self._tokens else self._rows[0]
        if not self._rows or header.rule != self._rows[0].rule:
            # The rule under the header may still grow while no row has come.
            self._rows[:1], self._layout = [header], None
        if not self._tokens:
            # After the header's section the body's begins, if there is one.
            self._tokens = head[1] + 2 if tokens[head[1] + 1].type == "tbody_open" else 0
        fresh: list[tuple[Cells, bool]] = []
        if self._tokens:
            for row in children(tokens, self._tokens, len(tokens) - 2):
                fresh.append((renderer.cells(tokens, row), row[1] <= block.settled))
                if row[1] <= block.settled:
                    self._tokens = row[1]
        justify = alignments(tokens, head)
        kept = self._keep()
        sample = [*self._rows, *(cells for cells, _ in fresh)][: SAMPLE_ROWS + 1]
        if len(self._rows) <= SAMPLE_ROWS and self._widen(sample, justify):
            kept = 0
        assert self._layout is not None
        for cells, is_settled in fresh:
            self.lines += self._layout.row(cells, renderer.styles)
            if is_settled:
                self._settled = len(self.lines)
                if len(self._rows) <= SAMPLE_ROWS:
                    self._rows.append(cells)
        return kept

    def _widen(self, sample: list[Cells], justify: list[Justify]) -> bool:
        """Lay the settled rows out again if the columns are others now; says whether they are."""
        styles = self._renderer.styles
        layout = layout_of(sample, justify, self._renderer.wide)
        if layout == self._layout:
            return False
        self._layout = layout
        header, *others = self._rows
        self.lines[:] = [
            *layout.header(header, styles),
            *(line for row in others for line in layout.row(row, styles)),
        ]
        self._settled = len(self.lines)
        return True


class GrowingFence(Growing):
    """Complete rows stay."""

    def __init__(self, renderer: BlockRenderer) -> None:
        super().__init__(renderer)
        self._code: Code | None = None
        self._rows = 0

    def update(self, block: Block) -> int:
        renderer = self._renderer
        styles, width = renderer.styles, renderer.wide
        code = code_of(block.tokens[0])
        if code is not self._code:
            self._code, self._settled, self._rows = code, 0, 0
        kept = self._keep()
        if not kept:
            self.lines.append(renderer.code_label(code, width))
            self._settled = 1
        # The last row may grow, or turn out to be the closing fence, which takes it away.
        complete = max(self._rows, len(code.rows) - 2)
        self.lines += code_lines(code, range(self._rows, complete), width, styles)
        self._rows, self._settled = complete, len(self.lines)
        self.lines += code_lines(code, range(complete, len(code.rows)), width, styles)
        self.lines.append(renderer.code_end(width))
        return kept


class GrowingParagraph(Growing):
    """Lines stay that nothing after them can change; the rest is broken again from where they end."""

    def __init__(self, renderer: BlockRenderer) -> None:
        super().__init__(renderer)
        self._tokens = 0
        self._runs: list[Run] = []  # settled text of lines that are not

    def update(self, block: Block) -> int:
        tokens: list[Token] = block.tokens[1].children or []
        if block.settled < self._tokens:
            self._tokens, self._settled, self._runs = 0, 0, []
        self._runs += inline_runs(tokens[self._tokens : block.settled], self._renderer.styles)
        self._tokens = block.settled
        kept = self._keep()
        lines = flow([*self._runs, *inline_runs(tokens[self._tokens :], self._renderer.styles)], self._renderer.width)
        self.lines += lines
        # A line is sure when the one after it, whose first word did not fit, ends in what is settled.
        sure = sum(len(text) for text, _ in self._runs)
        begins = [0, *accumulate(len(line.text) + len(line.join) for line in lines)]
        passed = 0
        while passed + 1 < len(lines) and begins[passed + 1] + len(lines[passed + 1].text) <= sure:
            passed += 1
        self._settled += passed
        self._runs = runs_from(self._runs, begins[passed])
        return kept


def growing_for(block: Block, renderer: BlockRenderer) -> Growing:
    """What lays out a block of this kind."""
    match block.tokens[0].type:
        case "bullet_list_open" | "ordered_list_open":
            return GrowingList(renderer)
        case "table_open":
            return GrowingTable(renderer)
        case "fence":
            return GrowingFence(renderer)
        case "paragraph_open":
            return GrowingParagraph(renderer)
        case _:
            return Growing(renderer)
