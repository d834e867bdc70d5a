"""Markdown that arrives in pieces, parsed once per block.

A top-level block is closed when another one has begun on a line that is complete: nothing that follows can change it
any more, except a link reference that is defined later, which makes everything be parsed again. So the blocks after
any chunking are those of a fresh parse of the whole; a property test holds that.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tui.sanitize import safe


@dataclass(frozen=True, eq=False, slots=True)
class Block:
    """The tokens of one top-level block."""

    tokens: list[Token]


@cache
def make_parser() -> MarkdownIt:
    """CommonMark with tables and strikethrough.

    HTML is off, so that ``List<String>`` outside of code stays readable and no tag disappears. A newline breaks the
    line, because that is what a model means by it.
    """
    options = {"html": False, "breaks": True, "maxNesting": 20}
    return MarkdownIt("commonmark", options).enable(["table", "strikethrough"])


class MarkdownStream:
    """The blocks of a growing text: :attr:`closed` ones, which only ever get longer, and :attr:`open` ones.

    ``generation`` changes when closed blocks had to be parsed again: what was rendered from them is void then.
    """

    def __init__(self) -> None:
        self._parser = make_parser()
        self._source = ""
        self._tail_at = 0
        self._held = ""
        self._env: dict[str, Any] = {}
        self.closed: list[Block] = []
        self.open: list[Block] = []
        self.generation = 0

    def append(self, text: str) -> None:
        """Add raw text; it is sanitized here."""
        self._add(text)
        tail = self._source[self._tail_at :]
        groups = _groups(self._parser.parse(tail, _copy(self._env)))
        lines = tail.count("\n")
        for index in range(len(groups) - 1, 0, -1):
            if _has_begun(groups[index], lines):
                self._close(_offset_of_line(tail, _end_line(groups[index - 1])))
                tail = self._source[self._tail_at :]
                groups = _groups(self._parser.parse(tail, _copy(self._env)))
                break
        self.open = groups

    def finish(self, text: str = "") -> None:
        """Add the last of the raw text and close everything. Nothing happens the second time."""
        self._add(text)
        self._source += safe(self._held)
        self._held = ""
        self._close(len(self._source) - self._tail_at)
        self.open = []

    def _add(self, text: str) -> None:
        # A carriage return means another thing when a newline follows, which may be in the next piece.
        text = self._held + text
        self._held = "\r" if text.endswith("\r") else ""
        self._source += safe(text.removesuffix(self._held) if self._held else text)

    def _close(self, length: int) -> None:
        end = self._tail_at + length
        known = len(self._env.get("references", {}))
        blocks = _groups(self._parser.parse(self._source[self._tail_at : end], self._env))
        if len(self._env.get("references", {})) != known and self.closed:
            self._env = {}
            blocks = _groups(self._parser.parse(self._source[:end], self._env))
            self.closed = []
            self.generation += 1
        self.closed.extend(blocks)
        self._tail_at = end


def _groups(tokens: list[Token]) -> list[Block]:
    groups: list[Block] = []
    current: list[Token] = []
    for token in tokens:
        current.append(token)
        if token.level == 0 and token.nesting <= 0:
            groups.append(Block(current))
            current = []
    return groups


def _copy(env: dict[str, Any]) -> dict[str, Any]:
    # A parse of the open tail may see half an address of a reference, which must not stick.
    return {"references": dict(env["references"])} if "references" in env else {}


def _has_begun(block: Block, complete_lines: int) -> bool:
    """Whether the lines that make this a block of its own are complete; a table has two, for its rule may change."""
    token = block.tokens[0]
    first = token.map[0] if token.map else 0
    return first + (token.type == "table_open") < complete_lines


def _end_line(block: Block) -> int:
    span = block.tokens[0].map
    return span[1] if span else 0


def _offset_of_line(text: str, line: int) -> int:
    offset = 0
    for _ in range(line):
        offset = text.index("\n", offset) + 1
    return offset
