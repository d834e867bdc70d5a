"""What a person types into a search field, and where it was found. Pure.

Words are found from their beginnings, in any order, through the index. A word that the index cannot cut (Chinese,
Japanese and Thai have no spaces between words; an arrow is no word at all) is looked for as it stands.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

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
_LETTER, _ACCENTS = r"[^\W_]", "[\u0300-\u036f]"
_RUN = re.compile(rf"{_LETTER}+")
_LAST_RUN = re.compile(rf"{_LETTER}+$")

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Query:
    """``match`` is for the index, in FTS5's language, ``""`` for nothing; ``contained`` must be there as they stand.

    ``patterns`` find in folded text what the index found.
    """

    match: str
    contained: tuple[str, ...]
    patterns: tuple[re.Pattern[str], ...]

    def __bool__(self) -> bool:
        return bool(self.match or self.contained)


@dataclass(frozen=True, slots=True)
class Hit:
    """Where a search found something: in a title, when ``message_id`` is ``None``.

    ``snippet`` is on one line, foreign text like any other; ``ranges`` are its pieces ``[begin, end)`` that were
    looked for. With ``is_file`` they are in a file that went with the message.
    """

    chat_id: int
    message_id: int | None
    title: str
    snippet: str
    ranges: tuple[Range, ...]
    is_file: bool = False

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
    indexed, contained = [], []
    # The index's language ends at a NUL.
    for word in text.replace("\0", " ").split()[:MOST_WORDS]:
        word = word[:LONGEST_WORD]  # noqa: PLW2901 (the word that is looked for is this one)
        if _UNSPACED.search(word) or not any(char.isalnum() for char in word):
            contained.append(word)
        else:
            indexed.append(word)
    return Query(" ".join(map(_quoted, indexed)), tuple(contained), tuple(map(_pattern, indexed)))


def _is_prefix(word: str) -> bool:
    last = _LAST_RUN.search(word)
    return last is not None and len(last[0]) >= SHORTEST_PREFIX


def _quoted(word: str) -> str:
    return '"' + word.replace('"', '""') + '"' + "*" * _is_prefix(word)


def _pattern(word: str) -> re.Pattern[str]:
    """Finds what the index found, in folded text."""
    runs = (f"{_ACCENTS}*".join(map(re.escape, run)) for run in _RUN.findall(_folded(word)))
    end = f"(?:{_LETTER}|{_ACCENTS})*" if _is_prefix(word) else f"{_ACCENTS}*(?!{_LETTER})"
    return re.compile(f"(?<!{_LETTER})" + r"[\W_]+".join(runs) + end)


class _Folding(dict[int, str]):
    """Each character's base letter in lower case: one for one, so that places stay the same."""

    def __missing__(self, code: int) -> str:
        base, *accents = list(unicodedata.normalize("NFD", chr(code)))
        # Only accents may go: Korean syllables fall into letters as well.
        folded = (base if all(map(unicodedata.combining, accents)) else chr(code)).lower()[0]
        self[code] = folded
        return folded


_FOLDING = _Folding()


def _folded(text: str) -> str:
    return text.lower() if text.isascii() else text.translate(_FOLDING)


def occurrences(text: str, query: Query) -> list[Range]:
    """Where in ``text`` a search found something: the first place, and what else is in reach of a snippet.

    FTS5 could tell, but takes seconds for a common word in a long message. Its rules are followed here: no difference
    between upper and lower case or with and without accents, whole words or their beginnings.
    """
    folded = _folded(text)
    places = [pattern.finditer(folded) for pattern in query.patterns]
    firsts = [found.span() for place in places if (found := next(place, None)) is not None]
    firsts += [(at, at + len(word)) for word in query.contained if (at := text.find(word)) >= 0]
    if not firsts:
        return []
    reach = min(firsts)[0] + SNIPPET_LENGTH
    for place in places:
        firsts += takewhile(lambda span: span[0] < reach, (found.span() for found in place))
    return firsts


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
