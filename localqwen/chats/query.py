"""What a person types into a search field, and where it was found. Pure.

Words are found from their beginnings, in any order, through the index. A word that the index cannot cut (Chinese,
Japanese and Thai have no spaces between words; an arrow is no word at all) is looked for as it stands.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

# More than anybody types; it bounds the work that a pasted page would make.
MOST_WORDS = 12
LONGEST_WORD = 100
# A prefix of one letter is half of the dictionary, and takes a second to find.
SHORTEST_PREFIX = 2

SNIPPET_LENGTH = 120
# How much of a snippet is what comes before the first thing that was found.
LEAD_LENGTH = 30

_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U0003ffff]"
)
_LAST_RUN = re.compile(r"[^\W_]+$")

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Query:
    """``match`` is for the index, in FTS5's language, ``""`` for nothing; ``contained`` must be there as they stand."""

    match: str
    contained: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.match or self.contained)


@dataclass(frozen=True, slots=True)
class Hit:
    """Where a search found something: in a title, when ``message_id`` is ``None``.

    ``snippet`` is on one line, foreign text like any other; ``ranges`` are its pieces ``[begin, end)`` that were
    looked for.
    """

    chat_id: int
    message_id: int | None
    title: str
    snippet: str
    ranges: tuple[Range, ...]

    @property
    def pieces(self) -> list[tuple[str, bool]]:
        """The snippet cut at the ranges; ``True`` for what was looked for."""
        pieces, at = [], 0
        for begin, end in self.ranges:
            pieces += [(self.snippet[at:begin], False), (self.snippet[begin:end], True)]
            at = end
        return [piece for piece in [*pieces, (self.snippet[at:], False)] if piece[0]]


def parse(text: str) -> Query:
    """Read a search; whatever is typed is a search, and nothing in it has a special meaning."""
    match, contained = [], []
    # The index's language ends at a NUL.
    for word in text.replace("\0", " ").split()[:MOST_WORDS]:
        word = word[:LONGEST_WORD]  # noqa: PLW2901 (the word that is looked for is this one)
        if _UNSPACED.search(word) or not any(char.isalnum() for char in word):
            contained.append(word)
        else:
            match.append(_quoted(word))
    return Query(" ".join(match), tuple(contained))


def _quoted(word: str) -> str:
    last = _LAST_RUN.search(word)
    star = "*" if last is not None and len(last[0]) >= SHORTEST_PREFIX else ""
    return '"' + word.replace('"', '""') + '"' + star


class Marks:
    """Marks for what FTS5 found, which no text can hold by chance or by malice."""

    def __init__(self) -> None:
        nonce = secrets.token_hex(16)
        self.begin, self.end = f"<{nonce}<", f">{nonce}>"
        self._either = re.compile(f"({self.begin}|{self.end})")

    def read(self, marked: str) -> tuple[str, list[Range]]:
        """The text without the marks, and where they were."""
        text, ranges, begin = "", [], 0
        for piece in self._either.split(marked):
            if piece == self.begin:
                begin = len(text)
            elif piece == self.end:
                ranges.append((begin, len(text)))
            else:
                text += piece
        return text, ranges


def occurrences(text: str, words: Sequence[str]) -> list[Range]:
    """Where the first of each of ``words`` are, as they stand."""
    return [(at, at + len(word)) for word in words if (at := text.find(word)) >= 0]


def snippet(text: str, ranges: Sequence[Range]) -> tuple[str, tuple[Range, ...]]:
    """One line of ``text`` around the first of ``ranges``, and those of them that are in it."""
    ranges = _merged(ranges)
    begin = max(0, ranges[0][0] - LEAD_LENGTH) if ranges else 0
    end = begin + SNIPPET_LENGTH
    line, inside = "…" if begin else "", []
    at = begin
    for first, last in [(max(first, begin), min(last, end)) for first, last in ranges if first < end]:
        line = _joined(line, text[at:first])
        before = len(line)
        line = _joined(line, text[first:last])
        inside.append((before, len(line)))
        at = last
    line = _joined(line, text[at:end]).rstrip()
    shown = tuple((first, min(last, len(line))) for first, last in inside if first < min(last, len(line)))
    return line + ("…" if end < len(text) else ""), shown


def _merged(ranges: Sequence[Range]) -> list[Range]:
    merged: list[Range] = []
    for begin, end in sorted(ranges):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _joined(line: str, text: str) -> str:
    """Append on one line: every run of white space is one space, and none is at the beginning."""
    text = re.sub(r"\s+", " ", text)
    return line + (text.lstrip() if not line or line.endswith((" ", "…")) else text)
