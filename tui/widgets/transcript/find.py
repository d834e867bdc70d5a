"""Find in a chat: a sliced search over the texts, and the places of the hits in what is shown."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from time import perf_counter

from tui.widgets.transcript.document import Document
from tui.widgets.transcript.line import Line

_NO_LETTERS = re.compile(r"[\W_]+")
_BLANKS = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Found:
    """How many hits there are.

    Attributes:
        count: Hits so far.
        current: The number of the one that is shown, counted from 1 at the top; 0 for none.
        is_complete: Whether everything has been searched.
    """

    count: int
    current: int
    is_complete: bool


@dataclass(frozen=True, slots=True)
class Hit:
    """A part of a hit that lies on one line: characters of its text, without decoration."""

    line: int
    begin: int
    end: int
    number: int


def pattern_of(words: str) -> re.Pattern[str]:
    """What matches some words: any white space between them, either case unless they have an upper-case letter."""
    escaped = r"\s+".join(re.escape(word) for word in _BLANKS.split(words))
    return re.compile(escaped, 0 if any(char.isupper() for char in words) else re.IGNORECASE)


def hits_in(lines: list[Line], pattern: re.Pattern[str]) -> list[Hit]:
    """The hits in laid-out lines: soft wraps and folds are no obstacle, margins and labels are no text."""
    numbers = [number for number, line in enumerate(lines) if not line.is_ornament]
    pieces = [lines[number].text + lines[number].join for number in numbers]
    starts = list(accumulate((len(piece) for piece in pieces), initial=0))
    hits: list[Hit] = []
    for ordinal, match in enumerate(
        match for match in pattern.finditer("".join(pieces)) if match.end() > match.start()
    ):
        at = bisect_right(starts, match.start()) - 1
        while at < len(numbers) and starts[at] < match.end():
            length = len(lines[numbers[at]].text)
            begin, end = max(0, match.start() - starts[at]), min(length, match.end() - starts[at])
            if begin < end:
                hits.append(Hit(numbers[at], begin, end, ordinal))
            at += 1
    return hits


class Search:
    """One search over a document.

    Entries are rendered only where their text may hold the words: letters and digits of what is shown come from the
    source in the same order, whatever Markdown stands between them, unless it names characters (``&amp;``).
    """

    def __init__(self, document: Document, words: str, near: int) -> None:
        """Search for ``words``, beginning at the entry ``near``."""
        self._document = document
        self._pattern = pattern_of(words)
        self._letters = _letters(words)
        self._counts: dict[int, int] = {}
        entries = len(document.entries)
        self._pending = [*range(near - 1, -1, -1), *range(entries - 1, near - 1, -1)]
        self._cache: dict[int, tuple[int, list[Hit]]] = {}
        self.current: tuple[int, int] | None = None

    @property
    def found(self) -> Found:
        """The state of the search."""
        number = 0
        if self.current is not None:
            entry, ordinal = self.current
            number = sum(count for index, count in self._counts.items() if index < entry) + ordinal + 1
        return Found(sum(self._counts.values()), number, not self._pending)

    def work(self, deadline: float) -> bool:
        """Search until ``deadline``, in seconds of :func:`time.perf_counter`; say whether all is searched."""
        while self._pending and perf_counter() < deadline:
            index = self._pending.pop()
            entry = self._document.entries[index]
            if self._may_hold(entry.text):
                look = self._document.look
                if look is not None and not entry.prepare(look, deadline):
                    self._pending.append(index)
                    break
                self._count(index)
                if self.current is None and self._counts.get(index):
                    self.current = (index, 0)
        return not self._pending

    def changed(self, index: int) -> None:
        """An entry has another text."""
        if index not in self._pending:
            self._pending.insert(0, index)

    def hits(self, index: int) -> list[Hit]:
        """The hits in an entry, as it is laid out now."""
        document = self._document
        lines = document.lines_of(index)
        entry = document.entries[index]
        known = self._cache.get(index)
        if known is None or known[0] != entry.revision:
            known = entry.revision, hits_in(lines, self._pattern)
            self._cache[index] = known
        return known[1]

    def step(self, direction: int) -> bool:
        """Go to the next (1) or previous (-1) hit, round the end; says whether there is one."""
        order = sorted(index for index, count in self._counts.items() if count)
        if not order:
            return False
        if self.current is None:
            self.current = (order[0], 0)
            return True
        index, ordinal = self.current
        ordinal += direction
        if not 0 <= ordinal < self._counts.get(index, 0):
            at = order.index(index) if index in order else 0
            index = order[(at + direction) % len(order)]
            ordinal = 0 if direction > 0 else self._counts[index] - 1
        self.current = (index, ordinal)
        return True

    def _may_hold(self, text: str) -> bool:
        if "&" in text:
            from html import unescape  # two thousand names of characters, which a first paint can do without

            # In code they are what they are, elsewhere what they stand for.
            if unescape(text) != text:
                return True
        return self._letters in _letters(text)

    def _count(self, index: int) -> None:
        hits = self.hits(index)
        self._counts[index] = hits[-1].number + 1 if hits else 0


def _letters(text: str) -> str:
    # Folded first: what a letter becomes may depend on the blanks beside it, as at the end of Greek words.
    return _NO_LETTERS.sub("", text.casefold())
