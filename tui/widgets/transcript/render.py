"""Markdown blocks to lines of styled text that fit a width."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from io import StringIO

from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode
from rich.console import Console, JustifyMethod
from rich.style import Style
from rich.text import Text

from tui.widgets.transcript.code import highlight
from tui.widgets.transcript.inline import inline_text
from tui.widgets.transcript.styles import Styles
from tui.widgets.transcript.table import lay_out

MIN_WIDTH = 8


@cache
def console() -> Console:
    """A console that Rich needs for wrapping; nothing is ever written to it."""
    return Console(file=StringIO(), color_system="truecolor", force_terminal=True, width=80, emoji=False, markup=False)


def wrap(text: Text, width: int) -> list[Text]:
    """The text in lines of at most ``width`` cells; a word that is longer is broken."""
    lines = list(text.wrap(console(), max(width, 2), justify="default", overflow="fold", tab_size=4))
    return lines or [Text()]


def prefixed(prefix: str, style: Style, line: Text) -> Text:
    """A line with something before it, whose style ends where the line begins."""
    return Text.assemble((prefix, style), line)


class BlockRenderer:
    """Renders tokens of whole blocks for one width and one theme."""

    def __init__(self, styles: Styles) -> None:
        self._styles = styles

    def render(self, tokens: Sequence[Token], width: int, *, is_open: bool = False) -> list[Text]:
        """The lines of one or more blocks. ``is_open`` says that the last one will grow, so it may look simpler."""
        return self._blocks(SyntaxTreeNode(tokens).children, max(width, MIN_WIDTH), is_open)

    def _blocks(self, nodes: Sequence[SyntaxTreeNode], width: int, is_open: bool, gap: bool = True) -> list[Text]:
        lines: list[Text] = []
        for node in nodes:
            if lines and gap:
                lines.append(Text())
            lines.extend(self._block(node, max(width, MIN_WIDTH), is_open))
        return lines

    def _block(self, node: SyntaxTreeNode, width: int, is_open: bool) -> list[Text]:
        match node.type:
            case "heading":
                lines = self._heading(node, width)
            case "fence" | "code_block":
                lines = self._code(node, width, is_open)
            case "bullet_list" | "ordered_list":
                lines = self._list(node, width, is_open)
            case "blockquote":
                lines = self._quote(node, width, is_open)
            case "table":
                lines = self._table(node, width)
            case "hr":
                lines = [Text("─" * width, self._styles.rule)]
            case "inline":
                lines = wrap(inline_text([node], self._styles), width)
            case _:
                # A paragraph, and whatever a later parser may bring: show what is inside of it.
                lines = self._blocks(node.children, width, is_open) if node.children else [Text(node.content)]
        return lines

    def _quote(self, node: SyntaxTreeNode, width: int, is_open: bool) -> list[Text]:
        inner = self._blocks(node.children, width - 2, is_open)
        for line in inner:
            line.stylize_before(self._styles.quote)
        return [prefixed("▎ ", self._styles.quote_bar, line) for line in inner]

    def _heading(self, node: SyntaxTreeNode, width: int) -> list[Text]:
        text = inline_text(node.children[:1], self._styles)
        text.stylize_before(self._styles.heading)
        lines = wrap(text, width)
        if node.tag == "h1":
            lines.append(Text("─" * min(width, max(line.cell_len for line in lines)), self._styles.rule))
        return lines

    def _code(self, node: SyntaxTreeNode, width: int, is_open: bool) -> list[Text]:
        styles = self._styles
        language = node.info.split(maxsplit=1)[0] if node.info.split() else ""
        code = highlight(node.content.removesuffix("\n").expandtabs(4), language, styles, is_open=is_open)
        lines = [Text(language, styles.code_label)]
        for line in code.split("\n", allow_blank=True):
            # Code is broken anywhere: a word wrap would eat the spaces that mean something.
            lines.extend(_fold(line, width - 2))
        lines.append(Text(style=styles.code))
        framed = []
        for line in lines:
            text = prefixed(" ", styles.code, line)
            text.pad_right(width - text.cell_len)
            text.stylize_before(styles.code)
            framed.append(text)
        return framed

    def _list(self, node: SyntaxTreeNode, width: int, is_open: bool) -> list[Text]:
        ordered = node.type == "ordered_list"
        first = int(node.attrs.get("start", 1)) if ordered else 0
        indent = len(str(first + len(node.children) - 1)) + 2 if ordered else 2
        tight = all(child.hidden for item in node.children for child in item.children if child.type == "paragraph")
        lines: list[Text] = []
        for number, item in enumerate(node.children, first):
            if lines and not tight:
                lines.append(Text())
            inner = self._blocks(item.children, width - indent, is_open, gap=not tight) or [Text()]
            mark = f"{number}.".rjust(indent - 1) if ordered else "•"
            if not ordered and (box := _task(inner[0])):
                mark, inner[0] = box, inner[0][4:]
            for index, line in enumerate(inner):
                lines.append(prefixed((mark if index == 0 else "").ljust(indent), self._styles.bullet, line))
        return lines

    def _table(self, node: SyntaxTreeNode, width: int) -> list[Text]:
        rows, justify = [], []
        for part in node.children:
            for row in part.children:
                rows.append([inline_text(cell.children[:1], self._styles) for cell in row.children])
                if part.type == "thead":
                    justify = [_justify(cell) for cell in row.children]
        return lay_out(rows, justify, width, self._styles, console())


def _fold(line: Text, width: int) -> list[Text]:
    """Break a line of code at the width, in cells: a wide character is never cut in two."""
    if line.cell_len <= width:
        return [line]
    cuts, used = [], 0
    for index, char in enumerate(line.plain):
        cells = Text(char).cell_len
        if used + cells > width and used:
            cuts.append(index)
            used = 0
        used += cells
    return list(line.divide(cuts))


def _task(line: Text) -> str:
    return {"[ ] ": "☐", "[x] ": "☑", "[X] ": "☑"}.get(line.plain[:4], "")


def _justify(cell: SyntaxTreeNode) -> JustifyMethod:
    style = str(cell.attrs.get("style", ""))
    return "right" if "right" in style else "center" if "center" in style else "left"
