"""Which sequence of a KV cache holds which tokens, and who shares cells with whom. Pure.

llama.cpp can let sequences share cells (a system prompt, a question with several answers), so a sequence is described
by runs: a run is a stretch of cells that were filled together, and two sequences that share a beginning share its runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from localqwen.engine.rope import Rope

COMPARED_AT_ONCE = 1024


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two sequences have in common from the start."""
    shorter = min(len(first), len(second))
    for at in range(0, shorter, COMPARED_AT_ONCE):
        end = min(at + COMPARED_AT_ONCE, shorter)
        one, other = first[at:end], second[at:end]
        if one != other:
            return at + next(i for i in range(end - at) if one[i] != other[i])
    return shorter


@dataclass(eq=False, slots=True)
class _Run:
    """Cells that were filled one after the other; ``shared`` ones are never added to."""

    shared: bool = False


@dataclass(eq=False, slots=True)
class Slot:
    """One sequence: ``tokens[i]`` stands at position i. ``busy`` while a job works on it, ``used`` when it last did.

    ``computed`` is the position scaling that the oldest part of it was computed under, if not the cache's own.
    """

    id: int
    tokens: list[int] = field(default_factory=list)
    busy: bool = False
    used: int = 0
    computed: Rope | None = None
    _runs: list[tuple[_Run, int]] = field(default_factory=list)

    def append(self, tokens: Sequence[int]) -> None:
        """Take note of tokens that were decoded."""
        if self._runs and not self._runs[-1][0].shared:
            run, length = self._runs.pop()
            self._runs.append((run, length + len(tokens)))
        elif tokens:
            self._runs.append((_Run(), len(tokens)))
        self.tokens += tokens

    def truncate(self, length: int) -> None:
        """Take note that only the first ``length`` tokens are left."""
        del self.tokens[length:]
        self._runs = _beginning(self._runs, length)
        if not length:
            self.computed = None

    def share(self, source: Slot, length: int) -> None:
        """Take note that this empty sequence begins with the cells of another's first ``length`` tokens."""
        assert not self.tokens
        self.tokens = source.tokens[:length]
        self.computed = source.computed
        self._runs = _beginning(source._runs, length)
        for run, _ in self._runs:
            run.shared = True


def _beginning(runs: Iterable[tuple[_Run, int]], length: int) -> list[tuple[_Run, int]]:
    kept = []
    for run, size in runs:
        if length <= 0:
            break
        kept.append((run, min(size, length)))
        length -= size
    return kept


class Slots:
    """All sequences of a context."""

    def __init__(self, count: int) -> None:
        self.all = [Slot(number) for number in range(count)]
        self._clock = 0

    def cells(self, *, busy_only: bool = False) -> int:
        """How many cells are in use (``busy_only``: by sequences that are worked on); a shared one counts once."""
        longest: dict[_Run, int] = {}
        for slot in self.all:
            if slot.busy or not busy_only:
                for run, length in slot._runs:
                    longest[run] = max(length, longest.get(run, 0))
        return sum(longest.values())

    def best(self, tokens: Sequence[int]) -> tuple[Slot | None, int]:
        """The sequence with the longest beginning in common with ``tokens``, and that length.

        Of equal ones the idle one is preferred that loses least when it is taken over.
        """
        found: tuple[int, bool, int, Slot] | None = None
        for slot in self.all:
            if length := common_prefix(slot.tokens, tokens):
                candidate = (length, not slot.busy, -len(slot.tokens), slot)
                if found is None or candidate[:3] > found[:3]:
                    found = candidate
        return (found[3], found[0]) if found else (None, 0)

    def unused(self) -> Slot | None:
        """An empty sequence that nobody works on."""
        return next((slot for slot in self.all if not slot.busy and not slot.tokens), None)

    def idle(self) -> list[Slot]:
        """What nobody works on and holds something, most recently used first."""
        return sorted((slot for slot in self.all if not slot.busy and slot.tokens), key=lambda slot: -slot.used)

    def touch(self, slot: Slot) -> None:
        """Take note that a sequence is used now."""
        self._clock += 1
        slot.used = self._clock
