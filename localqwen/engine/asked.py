"""What llama.cpp was asked about candidates, so that nothing is asked twice, and not too much in all. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from localqwen.engine.candidate import Bytes, Candidate, Count, Key


class Asked:
    """A ``count`` that remembers its answers."""

    def __init__(self, count: Count) -> None:
        self._count = count
        self._known: dict[tuple[Key, tuple[int, ...]], Sequence[Bytes] | None] = {}

    def __call__(self, candidate: Candidate) -> Sequence[Bytes] | None:
        """What llama.cpp counts."""
        key = candidate.key, candidate.counts
        if key not in self._known:
            self._known[key] = self._count(candidate)
        return self._known[key]

    def at_most(self, questions: int) -> Count:
        """The same, with no answers after so many new questions: a search then goes by careful formulas."""
        end = len(self._known) + questions

        def count(candidate: Candidate) -> Sequence[Bytes] | None:
            is_known = (candidate.key, candidate.counts) in self._known
            return self(candidate) if is_known or len(self._known) < end else None

        return count
