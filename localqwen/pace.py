"""How fast long work goes on, and how long it will still take. Pure: the caller brings the clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

# What was further back says little about the rest: a disk's cache is used up, a prompt gets dearer as it grows.
WINDOW_SECONDS = 10.0
# Over a shorter time than this, and a smaller part of the work, a rate is chance.
SHORTEST_SECONDS = 0.5
SMALLEST_PART = 0.01
MOST_MARKS = 64


@dataclass(frozen=True, slots=True)
class Pace:
    """What was done at which time; ``marks`` pair seconds of any one clock with the work done by then."""

    marks: tuple[tuple[float, float], ...] = ()

    def at(self, done: float, now: float) -> Self:
        """The pace after hearing that ``done`` is done.

        Work that goes backwards, or a clock that does, begins anew. What is done at the first mark was there before:
        a cached prompt, a file in memory.
        """
        if not math.isfinite(done) or not math.isfinite(now):
            return self
        marks = self.marks
        if marks and (done < marks[-1][1] or now < marks[-1][0]):
            marks = ()
        if len(marks) > 1 and done == marks[-1][1] == marks[-2][1]:
            marks = marks[:-1]  # it stands still: only since when matters
        marks = (*marks, (now, done))
        # One mark older than the window stays, so that slow work has a rate too.
        while len(marks) > 2 and (marks[1][0] < now - WINDOW_SECONDS or len(marks) > MOST_MARKS):
            marks = marks[1:]
        return type(self)(marks)

    @property
    def done(self) -> float:
        """What is done."""
        return self.marks[-1][1] if self.marks else 0.0

    @property
    def rate(self) -> float:
        """Work per second lately; 0 while that is unknown."""
        if len(self.marks) < 2:
            return 0.0
        (begin, first), (end, last) = self.marks[0], self.marks[-1]
        return (last - first) / (end - begin) if end - begin >= SHORTEST_SECONDS else 0.0

    def seconds_left(self, total: float, now: float | None = None) -> float | None:
        """How long the rest of ``total`` will take; ``None`` while that cannot be told.

        ``now`` counts the time since the last mark in, so that work that has stopped does not promise to end soon.
        """
        if not self.marks or total <= 0:
            return None
        if self.done >= total:
            return 0.0
        (begin, first), (end, last) = self.marks[0], self.marks[-1]
        seconds = max(end, now if now is not None else end) - begin
        if seconds < SHORTEST_SECONDS or last - first < SMALLEST_PART * total:
            return None
        return (total - last) * seconds / (last - first)


def duration(seconds: float) -> str:
    """A time that is left, no more exact than it is known: ``4 s``, ``50 s``, ``3 min``, ``1 h 20 min``."""
    whole = max(0, math.ceil(seconds))
    if whole <= 10:
        return f"{max(1, whole)} s"
    if whole < 60:
        return f"{-(-whole // 5) * 5} s" if whole <= 55 else "1 min"
    minutes = -(-whole // 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(-(-minutes // 5) * 5, 60)
    if hours >= 48:
        return "days"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
