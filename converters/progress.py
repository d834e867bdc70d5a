"""How far a conversion is, how fast it goes and what it made: plain records, for whoever shows them. Pure."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

# The rate is that of so many seconds: long enough to be calm, short enough to notice a slower disk or network.
_WINDOW = 20.0
# Two samples are at least so many seconds apart, so that a window holds few of them however fast the work goes.
_STEP = 0.1


@dataclass(frozen=True, slots=True)
class Progress:
    """How far work is, in bytes of what is read; ``tensor`` is the GGUF's name of the one just worked on.

    ``file`` is the source file that it came from, with how much of that file is done; ``rate`` is in bytes per
    second, over the last seconds. What an earlier run finished counts as done, but not as fast.
    """

    done: int
    total: int
    tensor: str
    file: str = ""
    file_done: int = 0
    file_total: int = 0
    rate: float | None = None
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class TypeShare:
    """How many tensors have a type, and what they take."""

    type: str
    tensors: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What a conversion made: ``size`` and ``source_size`` in bytes, ``weights`` in number.

    ``types`` has the largest share first. ``peak_memory`` is the most bytes that the process held at once since it
    began, pages of mapped files included. ``notes`` are sentences that a person should see: what was assumed, what
    other programs will make of the file.
    """

    path: Path
    type: str
    tensors: int
    weights: int
    size: int
    source_size: int
    seconds: float
    notes: tuple[str, ...] = ()
    types: tuple[TypeShare, ...] = ()
    peak_memory: int = 0
    kernels: str = ""
    feed_forward: str = "identical"  # the value of the padding.FeedForward that was taken

    @property
    def bits_per_weight(self) -> float:
        """Of the whole file, metadata included."""
        return self.size * 8 / self.weights


def shares(tensors: Iterable[tuple[str, int]]) -> tuple[TypeShare, ...]:
    """Add up (type, bytes) of tensors by type, the largest share first."""
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for kind, nbytes in tensors:
        counts[kind] += 1
        sizes[kind] += nbytes
    return tuple(TypeShare(kind, counts[kind], size) for kind, size in sizes.most_common())


class Pace:
    """How fast a growing number grows, over the last ``_WINDOW`` seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, float]] = deque()

    def rate(self, done: float) -> float | None:
        """Note that ``done`` is reached now; what is done per second, or None while that is unknown."""
        now = self._clock()
        samples = self._samples
        if not samples or now - samples[-1][0] >= _STEP:
            samples.append((now, done))
        # The newest one that is old enough stays, so that rare samples (slow work) still give a rate.
        while len(samples) > 2 and now - samples[1][0] >= _WINDOW:
            samples.popleft()
        start, before = samples[0]
        return (done - before) / (now - start) if now > start and done > before else None


class Tracker:
    """Counts finished work, in all and file by file.

    Args:
        work: file and bytes of every piece.
        done: file and bytes of those that an earlier run finished.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        work: Iterable[tuple[str, int]],
        done: Iterable[tuple[str, int]] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._totals, self._done = _by_file(work), _by_file(done)
        self._total, self._sum = self._totals.total(), self._done.total()
        self._pace = Pace(clock)
        self._pace.rate(self._sum)

    def before(self) -> Progress | None:
        """What an earlier run finished, if it finished anything."""
        return Progress(self._sum, self._total, "") if self._sum else None

    def finished(self, file: str, nbytes: int, tensor: str) -> Progress:
        """One more piece is done."""
        self._done[file] += nbytes
        self._sum += nbytes
        rate = self._pace.rate(self._sum)
        return Progress(
            done=self._sum,
            total=self._total,
            tensor=tensor,
            file=file,
            file_done=self._done[file],
            file_total=self._totals[file],
            rate=rate,
            seconds_left=None if rate is None else (self._total - self._sum) / rate,
        )


def _by_file(pieces: Iterable[tuple[str, int]]) -> Counter[str]:
    sizes: Counter[str] = Counter()
    for file, nbytes in pieces:
        sizes[file] += nbytes
    return sizes
