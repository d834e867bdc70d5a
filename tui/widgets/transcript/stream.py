"""Markdown that arrives in pieces, parsed once.

A top-level block is closed when another one has begun on a line that is complete: nothing that follows can change it
any more, except a link reference that is defined later, which makes everything be parsed again. So the blocks after
any chunking are those of a fresh parse of the whole; a property test holds that.

Inside of the open block the same is done for items, rows, lines and words: see :mod:`.open_block`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tui.sanitize import inert
from tui.widgets.transcript.inline_parser import InlineParser
from tui.widgets.transcript.inline_rules import address, backslash
from tui.widgets.transcript.open_block import OpenChildren, OpenFence, is_sure_paragraph_line
from tui.widgets.transcript.tree import note_rows


@dataclass(frozen=True, eq=False, slots=True)
class Block:
    """One top-level block.

    Attributes:
        tokens: Markdown-it's.
        span: Where it stands in the stream's text, with blank lines around it.
        settled: So many of its first tokens will stay as they are; of a paragraph, of the inline tokens in it.
        serial: Says of two blocks whether one is the other, grown.
    """

    tokens: list[Token]
    span: tuple[int, int] = (0, 0)
    settled: int = 0
    serial: tuple[int, ...] = ()


@cache
def make_parser() -> MarkdownIt:
    """CommonMark with tables, strikethrough, addresses that begin with a scheme, and LaTeX.

    HTML is off, so that ``List<String>`` outside of code stays readable and no tag disappears. A newline breaks the
    line, because that is what a model means by it.
    """
    options = {"html": False, "breaks": True, "maxNesting": 20}
    parser = MarkdownIt("commonmark", options).enable(["table", "strikethrough"])
    parser.inline.ruler.after("text", "address", address)
    parser.inline.ruler.at("escape", backslash)
    return parser


class MarkdownStream:
    """The blocks of a growing text: :attr:`closed` ones, which only ever get longer, and :attr:`open` ones.

    ``generation`` changes when closed blocks had to be parsed again: what was rendered from them is void then.
    """

    def __init__(self) -> None:
        self._parser = make_parser()
        self._inline = InlineParser(self._parser)
        self._source = ""
        self._begin = 0  # of the open block
        self._tail_at = 0  # of what is parsed at each piece
        self._held = ""
        self._env: dict[str, Any] = {}
        self._children: OpenChildren | None = None
        self._fence: OpenFence | None = None
        self._restarts = 0
        self.closed: list[Block] = []
        self.open: list[Block] = []
        self.generation = 0

    def append(self, text: str) -> None:
        """Add raw text; it is made inert here."""
        at = len(self._source)
        self._add(text)
        if not (self._in_fence(at) or self._in_paragraph(at)):
            self._parse_tail()

    def finish(self, text: str = "") -> None:
        """Add the last of the raw text and close everything. Nothing happens the second time."""
        self._add(text)
        self._source += inert(self._held)
        self._held = ""
        self._close(len(self._source))
        self.open = []

    def written(self, first: Block, last: Block) -> str:
        """How blocks were written, from the first one to the last one: inert text."""
        return self._source[first.span[0] : last.span[1]].strip("\n")

    def _add(self, text: str) -> None:
        # A carriage return means another thing when a newline follows, which may be in the next piece.
        text = self._held + text
        self._held = "\r" if text.endswith("\r") else ""
        self._source += inert(text.removesuffix(self._held) if self._held else text)

    # -- what needs no parse of blocks -----------------------------------------------------------------------------

    def _in_fence(self, at: int) -> bool:
        if self._fence is None or not self._fence.grow(self._source, at):
            return False
        self.open = [Block([self._fence.token()], self._open_span, 0, self._serial())]
        return True

    def _in_paragraph(self, at: int) -> bool:
        if len(self.open) != 1 or self.open[0].tokens[0].type != "paragraph_open" or self._children is not None:
            return False
        line_at = self._source.rfind("\n", 0, at) + 1
        is_sure = "\n" not in self._source[at:] and is_sure_paragraph_line(self._source[max(line_at, self._begin) : at])
        opening, inline, closing = self.open[0].tokens
        # A bracket at the beginning may be a reference.
        if not is_sure or inline.content.startswith("["):
            return False
        inline = inline.copy(content=self._source[self._begin :].strip())
        self.open = [self._paragraph([opening, inline, closing])]
        return True

    def _paragraph(self, tokens: list[Token]) -> Block:
        tokens[1].children, settled = self._inline.parse(tokens[1].content, self._tail_env())
        return Block(tokens, self._open_span, settled, (*self._serial(), self._inline.resets))

    @property
    def _open_span(self) -> tuple[int, int]:
        return self._begin, len(self._source)

    # -- blocks ----------------------------------------------------------------------------------------------------

    def _parse_tail(self) -> None:
        while True:
            head = self._children.head if self._children is not None else ""
            tail = head + self._source[self._tail_at :]
            env = self._tail_env()
            groups = self._block_groups(tail, env)
            if self._children is not None and not self._children.goes_on(groups[0] if groups else []):
                self._restart()
                continue
            lines = tail.count("\n")
            begun = next((i for i in range(len(groups) - 1, 0, -1) if _has_begun(groups[i], lines)), 0)
            if not begun:
                break
            end = _offset_of_line(tail, _end_line(groups[begun - 1]))
            self._close(self._tail_at + end - len(head))
        self._open(groups, tail, head, env)

    def _open(self, groups: list[list[Token]], tail: str, head: str, env: dict[str, Any]) -> None:
        for tokens in groups[1:]:
            self._fill(tokens, env)
        if not groups:
            self.open = []
            return
        first = groups[0]
        same_references = len(env.get("references", {})) == len(self._env.get("references", {}))
        if len(groups) == 1 and same_references and first[0].type == "paragraph_open":
            self.open = [self._paragraph(first)]
            return
        self._fill(first, env)
        if first[0].type == "fence":
            self._fence = OpenFence.of(first[0], self._source, self._tail_at, self._fence)
        tokens, settled = first, 0
        if self._children is not None:
            tokens, settled = self._children.whole(first)
        if len(groups) == 1 and same_references:
            line = self._settle(first, tail.count("\n"))
            if line:
                self._tail_at += _offset_of_line(tail, line) - len(head)
                assert self._children is not None
                settled = self._children.settled
        if len(groups) == 1:
            self.open = [Block(tokens, self._open_span, settled, self._serial())]
            return
        at = self._tail_at - len(head)
        ends = [at + _offset_of_line(tail, _end_line(tokens)) for tokens in groups]
        self.open = [Block(tokens, (self._begin, ends[0]), settled, self._serial())]
        self.open += [Block(*one) for one in zip(groups[1:], pairwise(ends), strict=True)]

    def _settle(self, tokens: list[Token], lines: int) -> int:
        """Settle what is complete of a list or a table; returns the line of the tail that the rest begins at, or 0."""
        children = self._children or OpenChildren.of(tokens)
        if children is None:
            return 0
        line = children.settle(tokens, lines, self._source[self._tail_at :] if not children.settled else "")
        if line:
            self._children = children
        return line

    def _restart(self) -> None:
        """The open block is not what its settled part made it look like: parse it from its beginning."""
        self._tail_at, self._children, self._fence = self._begin, None, None
        self._restarts += 1

    def _serial(self) -> tuple[int, ...]:
        return self._begin, self._restarts, self.generation

    def _close(self, end: int) -> None:
        """Close everything before ``end``."""
        known = len(self._env.get("references", {}))
        serial = self._serial()
        head = self._children.head if self._children is not None else ""
        groups = self._block_groups(head + self._source[self._tail_at : end], self._env)
        if self._children is not None and not self._children.goes_on(groups[0] if groups else []):
            self._restart()
            groups = self._block_groups(self._source[self._begin : end], self._env)
            head, serial = "", self._serial()
        if len(self._env.get("references", {})) != known:
            self._inline.reset()
            if self.closed or self._children is not None:
                self._env = {}
                self._begin = self._tail_at = 0
                self._children = self._fence = None
                groups = self._block_groups(self._source[:end], self._env)
                self.closed = []
                self.generation += 1
                head, serial = "", self._serial()
        self._take(groups, end, head, serial)
        self._begin = self._tail_at = end
        self._children = self._fence = None
        self._inline.reset()

    def _take(self, groups: list[list[Token]], end: int, head: str, serial: tuple[int, ...]) -> None:
        tail = head + self._source[self._tail_at : end]
        ends = [*(match.end() for match in re.finditer("\n", tail)), len(tail)]
        before = 0
        for number, tokens in enumerate(groups):
            upto = ends[_end_line(tokens) - 1]
            first = number == 0
            begin = self._begin if first else self._tail_at - len(head) + before
            span = begin, self._tail_at - len(head) + upto
            before = upto
            settled, mark = 0, serial if first else ()
            if tokens[0].type == "paragraph_open":
                tokens[1].children, settled = self._inline.parse(tokens[1].content, self._env)
                mark = (*mark, self._inline.resets) if first else ()
            else:
                self._fill(tokens, self._env)
            whole = tokens
            if first and self._children is not None:
                whole, settled = self._children.whole(tokens)
            elif first and self._fence is not None and tokens[0].type == "fence":
                whole = [self._fence.closed(tokens[0])]
            self.closed.append(Block(whole, span, settled, mark))

    def _block_groups(self, text: str, env: dict[str, Any]) -> list[list[Token]]:
        """The top-level blocks of a text, without what is inline in them."""
        tokens: list[Token] = []
        self._parser.block.parse(text, self._parser, env, tokens)
        note_rows(tokens, text)
        groups: list[list[Token]] = []
        current: list[Token] = []
        for token in tokens:
            current.append(token)
            if token.level == 0 and token.nesting <= 0:
                groups.append(current)
                current = []
        return groups

    def _fill(self, tokens: list[Token], env: dict[str, Any]) -> None:
        for token in tokens:
            if token.type == "inline":
                token.children, _ = InlineParser(self._parser).parse(token.content, env)

    def _tail_env(self) -> dict[str, Any]:
        # A parse of the open tail may see half an address of a reference, which must not stick.
        return {"references": dict(self._env["references"])} if "references" in self._env else {}


def _has_begun(tokens: list[Token], complete_lines: int) -> bool:
    """Whether the lines that make this a block of its own are complete; a table has two, for its rule may change."""
    token = tokens[0]
    first = token.map[0] if token.map else 0
    return first + (token.type == "table_open") < complete_lines


def _end_line(tokens: list[Token]) -> int:
    span = tokens[0].map
    return span[1] if span else 0


def _offset_of_line(text: str, line: int) -> int:
    """Where a line begins; the text's end for one that it has not."""
    offset = 0
    for _ in range(line):
        at = text.find("\n", offset)
        if at < 0:
            return len(text)
        offset = at + 1
    return offset
