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


_MARK = re.compile(r"(?:[-+*]|\d+[.)])[ \t]")


def note_rows(tokens: Sequence[Token], text: str) -> None:
    """Keep with the rows of tables how they were written; with a header, the rule under it too."""
    lines: list[str] = []
    # Quotes and list items around what is looked at; of an item, the line on which its mark stands.
    around: list[int | None] = []
    for token in tokens:
        if token.type in {"blockquote_open", "list_item_open"}:
            around.append(token.map[0] if token.map is not None and token.type == "list_item_open" else None)
        elif token.type in {"blockquote_close", "list_item_close"}:
            around.pop()
        elif token.type == "tr_open" and token.map is not None:
            lines = lines or text.split("\n")
            line = token.map[0]
            written = [_within(around, at, lines[at]) for at in range(line, min(line + 2, len(lines)))]
            token.meta["row"] = (*written, "", "")[:2]


def _within(around: Sequence[int | None], at: int, line: str) -> str:
    """A line without what the containers have put before it."""
    for begins in around:
        line = line.lstrip(" \t")
        if begins is None:
            line = line.removeprefix(">")
        elif begins == at:
            line = _MARK.sub("", line, count=1) if _MARK.match(line) else line
    return line.strip(" \t")


_CONTAINERS = {"bullet_list_open", "ordered_list_open", "list_item_open", "blockquote_open"}


def last_line(tokens: Sequence[Token], span: Span) -> int:
    """The line after the last one that holds something: containers count blank lines that follow them as theirs."""
    token = tokens[span[0]]
    first, end = token.map or (0, 0)
    if token.type not in _CONTAINERS:
        return end
    within = list(children(tokens, *inside(span)))
    return last_line(tokens, within[-1]) if within else first + 1
