"""Inline Markdown (emphasis, code, links) to styled runs that are not wrapped yet."""

from __future__ import annotations

import re
from collections.abc import Sequence

from markdown_it.token import Token
from rich.style import Style

from tui.sanitize import inert
from tui.widgets.transcript.line import Run
from tui.widgets.transcript.styles import Styles

# How the lines of a table's cell are broken: it is the only way to, so that models do it.
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


def inline_runs(
    tokens: Sequence[Token], styles: Styles, under: Style | None = None, *, in_cell: bool = False
) -> list[Run]:
    """The text of inline tokens, over the style ``under``; a newline ends a line, and so does ``<br>`` in a cell."""
    writer = _Writer(styles, under or Style.null(), in_cell=in_cell)
    for token in tokens:
        writer.write(token)
    return writer.runs


class _Writer:
    def __init__(self, styles: Styles, under: Style, *, in_cell: bool) -> None:
        self.runs: list[Run] = []
        self._styles = styles
        self._in_cell = in_cell
        self._spans = {"strong_open": styles.strong, "em_open": styles.emphasis, "s_open": styles.strike}
        self._stack: list[Style] = [under]
        self._links: list[tuple[int, str]] = []

    def write(self, token: Token) -> None:
        match token.type:
            case "softbreak" | "hardbreak":
                self.runs.append(("\n", self._stack[-1]))
            case "code_inline":
                self._add(token.content, self._stack[-1] + self._styles.inline_code)
            case "link_open":
                self._stack.append(self._stack[-1] + self._styles.link)
                # An address that is its own words is not said twice.
                href = "" if token.markup == "linkify" else str(token.attrs.get("href", ""))
                self._links.append((len(self.runs), href))
            case "link_close":
                self._close_link()
            case "image":
                self._add(f"[{token.content or 'image'}]", self._stack[-1] + self._styles.link)
                self._add(f" ({token.attrs.get('src', '')})", self._stack[-1] + self._styles.url)
            case kind if kind in self._spans:
                self._stack.append(self._stack[-1] + self._spans[kind])
            case _ if token.nesting < 0:
                self._stack.pop()
            case "text" if self._in_cell and "<" in token.content:
                self._add(_BREAK.sub("\n", token.content), self._stack[-1])
            case _:
                self._add(token.content, self._stack[-1])

    def _add(self, text: str, style: Style) -> None:
        if text:
            self.runs.append((inert(text), style))

    def _close_link(self) -> None:
        self._stack.pop()
        start, href = self._links.pop()
        # The address is shown, never hidden behind the words or in an escape sequence.
        if href and "".join(text for text, _ in self.runs[start:]) != href.removeprefix("mailto:"):
            self._add(f" ({href})", self._stack[-1] + self._styles.url)
