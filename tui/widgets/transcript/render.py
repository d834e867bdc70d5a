"""Markdown blocks to lines that fit a width."""

from __future__ import annotations

import re
from collections.abc import Sequence

from markdown_it.token import Token
from rich.style import Style

from tui.sanitize import inert
from tui.widgets.transcript.code import Code, code_lines, code_of, pad
from tui.widgets.transcript.flow import flow, total
from tui.widgets.transcript.inline import inline_runs
from tui.widgets.transcript.line import Line
from tui.widgets.transcript.styles import Styles
from tui.widgets.transcript.table import SAMPLE_ROWS, Cells, Justify, layout_of
from tui.widgets.transcript.tree import Span, children, inside, last_line

MIN_WIDTH = 8
_NO_STYLE = Style.null()


class BlockRenderer:
    """Renders tokens of whole blocks for one width and one theme.

    A list shows a blank line where its author left one, and an item is indented by its own mark, as Markdown's source
    is. Both depend on nothing that follows, so a list that grows never moves what is there.
    """

    def __init__(self, styles: Styles, width: int, wide: int = 0) -> None:
        """Text is ``width`` cells wide at most; code and tables, which no eye has to follow back, may be ``wide``."""
        self.styles = styles
        self.width = max(width, MIN_WIDTH)
        self.wide = max(wide, self.width)

    def render(self, tokens: Sequence[Token]) -> list[Line]:
        """The lines of one or more blocks."""
        return self.blocks(tokens, (0, len(tokens)), self.width)

    def blocks(self, tokens: Sequence[Token], span: Span, width: int, under: Style = _NO_STYLE) -> list[Line]:
        """The lines of blocks one below the other."""
        lines: list[Line] = []
        before: Span | None = None
        for child in children(tokens, *span):
            if before is not None and _is_apart(tokens, before, child):
                lines.append(Line.of("", under))
            lines += self.block(tokens, child, max(width, MIN_WIDTH), under)
            before = child
        return lines

    def block(self, tokens: Sequence[Token], span: Span, width: int, under: Style = _NO_STYLE) -> list[Line]:
        """The lines of one block."""
        token = tokens[span[0]]
        match token.type:
            case "heading_open":
                lines = self._heading(tokens, span, width)
            case "fence" | "code_block":
                lines = self._code(token, width + self.wide - self.width)
            case "bullet_list_open" | "ordered_list_open":
                lines = self._list(tokens, span, width, under)
            case "blockquote_open":
                lines = self._quote(tokens, span, width, under)
            case "table_open":
                lines = self._table(tokens, span, width + self.wide - self.width)
            case "hr":
                lines = [_ornament("─" * width, self.styles.rule)]
            case "inline":
                lines = flow(inline_runs(token.children or [], self.styles, under), width)
            case _ if token.nesting:
                # A paragraph, and whatever a later parser may bring: show what is inside of it.
                lines = self.blocks(tokens, inside(span), width, under)
            case _:
                lines = flow([(inert(token.content), under)], width)
        return lines

    def _heading(self, tokens: Sequence[Token], span: Span, width: int) -> list[Line]:
        lines = flow(inline_runs(tokens[span[0] + 1].children or [], self.styles, self.styles.heading), width)
        if tokens[span[0]].tag == "h1":
            widest = max(total(line.content) for line in lines)
            lines.append(_ornament("─" * min(width, max(1, widest)), self.styles.rule))
        return lines

    def _quote(self, tokens: Sequence[Token], span: Span, width: int, under: Style) -> list[Line]:
        lines = self.blocks(tokens, inside(span), width - 2, under + self.styles.quote)
        for line in lines:
            line.decorate("▎ ", self.styles.quote_bar)
        return lines

    # -- code ------------------------------------------------------------------------------------------------------

    def _code(self, token: Token, width: int) -> list[Line]:
        code = code_of(token)
        return [
            self.code_label(code, width),
            *code_lines(code, range(len(code.rows)), width, self.styles),
            self.code_end(width),
        ]

    def code_label(self, code: Code, width: int) -> Line:
        """The first line of code: its language."""
        line = Line.of(code.language[: width - 2], self.styles.code_label, is_ornament=True)
        pad(line, line.text, width, self.styles)
        return line

    def code_end(self, width: int) -> Line:
        """The last line of code, an empty one."""
        line = Line.of("", self.styles.code, is_ornament=True)
        pad(line, "", width, self.styles)
        return line

    # -- lists -----------------------------------------------------------------------------------------------------

    def _list(self, tokens: Sequence[Token], span: Span, width: int, under: Style) -> list[Line]:
        lines: list[Line] = []
        number = first_number(tokens[span[0]])
        before: Span | None = None
        for item in children(tokens, *inside(span)):
            if before is not None and is_loose(tokens, before):
                lines.append(Line.of("", under))
            lines += self.item(tokens, item, number, width, under)
            number = None if number is None else number + 1
            before = item
        return lines

    def item(
        self, tokens: Sequence[Token], span: Span, number: int | None, width: int, under: Style = _NO_STYLE
    ) -> list[Line]:
        """The lines of an item; ``number`` is ``None`` in a list of bullets. What is copied has the mark as written."""
        token, within = tokens[span[0]], inside(span)
        written = f"{token.info}{token.markup} "
        mark = "• " if number is None else f"{number}{token.markup} "
        box = _box(tokens, within)
        if box:
            # It stands in the place of a bullet, but a number says something.
            mark = _BOXES[box[1]] if number is None else mark + _BOXES[box[1]]
            tokens, within = _without(box, tokens, within)
        inner = self.blocks(tokens, within, width - len(mark), under) or [Line.of("", under)]
        for index, line in enumerate(inner):
            if index == 0:
                line.decorate(mark, self.styles.bullet, written + box)
            else:
                # What is copied of nested lists and tables keeps its indent; of code in an item nothing is added.
                is_indented = line.lead or line.table is not None
                line.decorate(" " * len(mark), under, " " * len(written) if is_indented else "")
        return inner

    # -- tables ----------------------------------------------------------------------------------------------------

    def _table(self, tokens: Sequence[Token], span: Span, width: int) -> list[Line]:
        rows = [row for part in children(tokens, *inside(span)) for row in children(tokens, *inside(part))]
        cells = [self.cells(tokens, row, is_header=number == 0) for number, row in enumerate(rows)]
        layout = layout_of(cells[: SAMPLE_ROWS + 1], alignments(tokens, rows[0]), width)
        return [
            *layout.header(cells[0], self.styles),
            *(line for row in cells[1:] for line in layout.row(row, self.styles)),
        ]

    def cells(self, tokens: Sequence[Token], row: Span, *, is_header: bool = False) -> Cells:
        """A row's cells."""
        under = self.styles.strong if is_header else _NO_STYLE
        source, rule = tokens[row[0]].meta.get("row", ("", ""))
        runs = [
            inline_runs(tokens[cell[0] + 1].children or [], self.styles, under, in_cell=True)
            for cell in children(tokens, *inside(row))
        ]
        return Cells(runs, source, rule)


_BOXES = {" ": "☐ ", "x": "☑ ", "X": "☑ "}
# GFM wants words after the box; while an answer grows they have not come yet.
_TASK = re.compile(r"\[[ xX]\](?=\s|$)")


def _box(tokens: Sequence[Token], item: Span) -> str:
    """The box that an item's first paragraph begins with, as it is written, and the blank after it; or nothing."""
    begin, end = item
    if begin + 1 >= end or tokens[begin].type != "paragraph_open":
        return ""
    paragraph = tokens[begin + 1]
    first = paragraph.children[0] if paragraph.children else None
    # In code, or with a reference of that name, it is something else.
    return first.content[:4] if first is not None and first.type == "text" and _TASK.match(paragraph.content) else ""


def _without(box: str, tokens: Sequence[Token], item: Span) -> tuple[Sequence[Token], Span]:
    """The tokens inside of an item, less its box."""
    part = list(tokens[slice(*item)])
    first, *others = part[1].children or []
    part[1] = part[1].copy(children=[first.copy(content=first.content[len(box) :]), *others])
    return part, (0, len(part))


def first_number(token: Token) -> int | None:
    """The number of a list's first item; ``None`` for bullets."""
    return int(token.attrs.get("start", 1)) if token.type == "ordered_list_open" else None


def is_loose(tokens: Sequence[Token], item: Span) -> bool:
    """Whether blank lines follow an item that is not the last one."""
    span = tokens[item[0]].map
    return span is not None and last_line(tokens, item) < span[1]


def alignments(tokens: Sequence[Token], header: Span) -> list[Justify]:
    """How each column is set."""
    return [_justify(tokens[cell[0]]) for cell in children(tokens, *inside(header))]


def _is_apart(tokens: Sequence[Token], before: Span, after: Span) -> bool:
    """Whether a blank line stands between two blocks: inside of others only where the source has one."""
    token = tokens[after[0]]
    return not token.level or token.map is None or last_line(tokens, before) < token.map[0]


def _ornament(text: str, style: Style) -> Line:
    return Line.of(text, style, is_ornament=True)


def _justify(cell: Token) -> Justify:
    style = str(cell.attrs.get("style", ""))
    return "right" if "right" in style else "center" if "center" in style else "left"
