"""Guesses from the conversation itself: what followed the last time that its end was said. Pure.

Summaries, edits and tables repeat what they are about (https://github.com/apoorvumang/prompt-lookup-decoding).
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Sequence

SHORT, LONG = 3, 8  # tokens that must agree for a guess, and for one that is looked for in the whole conversation
CANDIDATES = 8  # most recent places that are compared for the longest agreement
COMPARED = 16  # tokens back
SLICE = 1024  # tokens indexed at once (some 2 ms), so that a long prompt does not hold up its first token
# Where levels of confidence begin, by the tokens that agree, and how often a guess of that level holds.
LEVELS = (3, 4, 6, 9, COMPARED)
PRIORS = ((0.4, 0.75), (0.5, 0.8), (0.6, 0.85), (0.75, 0.9), (0.85, 0.95))
NOWHERE = -1


class NgramDrafter:
    """Finds the longest recent agreement with the end of one growing list of tokens.

    A hash chain as in LZ77: for each three tokens in a row where they were last, and for each place the one before
    it, so that a token costs the same in a short and in a long conversation: some 10 microseconds and 220 bytes.
    """

    free = True
    spent = 0.0
    priors = PRIORS

    def __init__(self, ends: Collection[int] = ()) -> None:
        """A guess stops after a token of ``ends``, which ends an answer."""
        self._ends = frozenset(ends)
        self._indexed = 0  # n-grams that end before this place are in the index
        self._last_short: dict[tuple[int, ...], int] = {}
        self._last_long: dict[int, int] = {}  # by hash, which takes less memory than eight numbers
        self._previous = array("q")
        self._source = NOWHERE  # the place that the end of the conversation is compared with
        self._length = 0

    def abort(self) -> None:
        """A guess takes no time, so there is nothing to end."""

    def resume(self) -> None:
        """It was never ended."""

    def confidence(self, tokens: Sequence[int]) -> int | None:
        """The level of the longest agreement, after indexing what is new."""
        self._index(tokens)
        self._find(tokens)
        if self._source == NOWHERE:
            return None
        return sum(self._length >= level for level in LEVELS) - 1

    def draft(self, tokens: Sequence[int], limit: int) -> Sequence[int]:
        """What followed there; beyond the end of the conversation it goes on in the guess, as a period does."""
        known, at = len(tokens), self._source
        guess = list(tokens[at : min(at + limit, known)])
        while len(guess) < limit:
            guess.append(guess[at + len(guess) - known])
        for i, token in enumerate(guess):
            if token in self._ends:
                return guess[: i + 1]
        return guess

    def _index(self, tokens: Sequence[int]) -> None:
        """Enter the n-grams that end up to the last token but one; the last ones are what is looked for."""
        start, stop = self._indexed, min(len(tokens), self._indexed + SLICE)
        if stop <= start:
            return
        new = tokens[max(0, start - LONG) : stop]
        offset = stop - len(new)
        last_short, last_long, previous = self._last_short, self._last_long, self._previous
        # An entry is the place after an n-gram: what followed it. The n-gram at the very end has no such place yet.
        for place in range(start, stop):
            at = place - offset
            if place < SHORT:
                previous.append(NOWHERE)
                continue
            short = (new[at - 3], new[at - 2], new[at - 1])
            previous.append(last_short.get(short, NOWHERE))
            last_short[short] = place
            if place >= LONG:
                last_long[hash(tuple(new[at - LONG : at]))] = place
        self._indexed = stop

    def _find(self, tokens: Sequence[int]) -> None:
        end = len(tokens)
        self._source, self._length = NOWHERE, 0
        if end < SHORT:
            return
        tail = tokens[-COMPARED - 1 :]
        if end >= LONG:
            self._compare(tokens, tail, self._last_long.get(hash(tuple(tokens[-LONG:])), NOWHERE))
        place = self._last_short.get((tokens[-3], tokens[-2], tokens[-1]), NOWHERE)
        for _ in range(CANDIDATES):
            if place == NOWHERE or self._length >= COMPARED:
                return
            self._compare(tokens, tail, place)
            place = self._previous[place]

    def _compare(self, tokens: Sequence[int], tail: Sequence[int], place: int) -> None:
        if place == NOWHERE:
            return
        most = min(COMPARED, place, len(tail))
        length = 0
        while length < most and tokens[place - 1 - length] == tail[-1 - length]:
            length += 1
        if length >= SHORT and length > self._length:
            self._source, self._length = place, length
