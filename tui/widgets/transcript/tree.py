"""Markdown-it's flat tokens, walked as the tree they are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from markdown_it.token import Token

Span = tuple[int, int]


def children(tokens: Sequence[Token], begin: int = 0, end: int | None = None) -> Iterator[Span]:
    """Where each node of a range begins and ends; leaves are ranges of one token."""
    end = len(tokens) if end is None else end
    first, depth = begin, 0
    for index in range(begin, end):
        depth += tokens[index].nesting
        if depth == 0:
            yield first, index + 1
            first = index + 1


def inside(span: Span) -> Span:
    """The range between a node's opening and closing tokens."""
    return span[0] + 1, span[1] - 1


# What stands before the rows of a table that is in a list or a quote.
_PREFIX = re.compile(r"(?:[ \t]|>|[-+*][ \t]|\d+[.)][ \t])*")


def note_rows(tokens: Sequence[Token], text: str) -> None:
    """Keep with the rows of tables how they were written; with a header, the rule under it too."""
    lines: list[str] = []
    nested = False
    for token in tokens:
        if token.type == "table_open":
            lines = lines or text.split("\n")
            nested = token.level > 0
        elif token.type == "tr_open" and token.map is not None:
            line = token.map[0]
            written = [_PREFIX.sub("", one, count=1) if nested else one.strip(" ") for one in lines[line : line + 2]]
            token.meta["row"] = (*written, "", "")[:2]


_CONTAINERS = {"bullet_list_open", "ordered_list_open", "list_item_open", "blockquote_open"}


def last_line(tokens: Sequence[Token], span: Span) -> int:
    """The line after the last one that holds something: containers count blank lines that follow them as theirs."""
    token = tokens[span[0]]
    first, end = token.map or (0, 0)
    if token.type not in _CONTAINERS:
        return end
    within = list(children(tokens, *inside(span)))
    return last_line(tokens, within[-1]) if within else first + 1
