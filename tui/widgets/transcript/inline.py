"""Inline Markdown (emphasis, code, links) to styled text that is not wrapped yet."""

from __future__ import annotations

from collections.abc import Sequence

from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode
from rich.style import Style
from rich.text import Text

from tui.widgets.transcript.styles import Styles


def inline_text(nodes: Sequence[SyntaxTreeNode], styles: Styles) -> Text:
    """The text of inline nodes, one after the other."""
    writer = _Writer(styles)
    for node in nodes:
        for token in node.token.children or [] if node.token else []:
            writer.write(token)
    return writer.text


class _Writer:
    def __init__(self, styles: Styles) -> None:
        self.text = Text()
        self._styles = styles
        self._spans = {"strong_open": styles.strong, "em_open": styles.emphasis, "s_open": styles.strike}
        self._stack: list[Style] = [Style.null()]
        self._links: list[tuple[int, str]] = []

    def write(self, token: Token) -> None:
        match token.type:
            case "softbreak" | "hardbreak":
                self.text.append("\n")
            case "code_inline":
                self.text.append(token.content, Style.combine([*self._stack, self._styles.inline_code]))
            case "link_open":
                self._stack.append(self._styles.link)
                self._links.append((len(self.text), str(token.attrs.get("href", ""))))
            case "link_close":
                self._close_link()
            case "image":
                self.text.append(f"[{token.content or 'image'}]", self._styles.link)
                self.text.append(f" ({token.attrs.get('src', '')})", self._styles.url)
            case kind if kind in self._spans:
                self._stack.append(self._spans[kind])
            case _ if token.nesting < 0:
                self._stack.pop()
            case _:
                self.text.append(token.content, Style.combine(self._stack))

    def _close_link(self) -> None:
        self._stack.pop()
        start, href = self._links.pop()
        # The address is shown, never hidden behind the words or in an escape sequence.
        if href and self.text.plain[start:] != href.removeprefix("mailto:"):
            self.text.append(f" ({href})", self._styles.url)
