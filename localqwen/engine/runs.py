"""The cheapest runs of layers on devices, by dynamic programming. Pure.

llama.cpp puts the first layers on the CPU and then gives each device a run of layers, in the devices' order, the
output matrix as the last one. Costs and bytes add up over the layers, so the best runs of the first layers are part of
the best runs of more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeAlias

from localqwen.engine.machine import Device
from localqwen.engine.speed import PROMPT_PER_ANSWER, Work

# The least cost of the first layers, and how many each device has of them, the CPU's first.
Best: TypeAlias = tuple[float, tuple[int, ...]]


NO_ROOM = -1


@dataclass(frozen=True, slots=True)
class Rooms:
    """Bytes that a device has for layers beside all else: for the first ones, the last ones, the output matrix alone,
    all of them, or others; :data:`NO_ROOM` where it must not have them.
    """

    first: int
    inner: int
    last: int
    output: int
    whole: int

    def for_run(self, start: int, end: int, layers: int) -> int:
        """For ``start`` to ``end - 1`` of so many layers."""
        if end == layers:
            return self.whole if start == 0 else self.output if end - start == 1 else self.last
        return self.first if start == 0 else self.inner


class RunCosts:
    """Sums over runs of layers on one device."""

    def __init__(self, work: Work, device: Device, helper: Device | None = None) -> None:
        """``helper`` is the GPU that computes prompts for a CPU."""
        both = zip(work.decode(device), work.prefill(device, helper), strict=True)
        self._seconds = [0.0, *accumulate(decode + PROMPT_PER_ANSWER * prefill for decode, prefill in both)]
        self._bytes = [0, *accumulate(work.sizes)]
        self._latency = device.speed.latency

    def of(self, start: int, end: int) -> float:
        """Seconds for layers ``start`` to ``end - 1``."""
        return self._seconds[end] - self._seconds[start] + (self._latency if end > start else 0.0)

    def bytes(self, start: int, end: int) -> int:
        """Weights and KV cache of these."""
        return self._bytes[end] - self._bytes[start]


def on_cpu(costs: RunCosts, counts: Sequence[int], fits: Callable[[int], bool], layers: int) -> list[Best | None]:
    """The beginning: for each number of first layers, what they cost if the CPU has them all, where it may."""
    best: list[Best | None] = [None] * (layers + 1)
    for count in counts:
        if fits(count):
            best[count] = costs.of(0, count), (count,)
    return best


def with_device(
    best: Sequence[Best | None],
    costs: RunCosts,
    rooms: Rooms,
    wanted: int | None = None,
    less: Sequence[int] = (),
) -> list[Best | None]:
    """The same when one more device may take the last of them.

    ``wanted`` is a number of layers that the user says. ``less`` are the bytes, negative, that the rooms are smaller by
    for each number of layers on the CPU, where both have the same memory.
    """
    return [_ending(best, end, costs, rooms, wanted, less) for end in range(len(best))]


def _ending(
    best: Sequence[Best | None],
    end: int,
    costs: RunCosts,
    rooms: Rooms,
    wanted: int | None,
    less: Sequence[int],
) -> Best | None:
    found = best[end] if wanted in {None, 0} else None
    if found is not None:
        found = found[0], (*found[1], 0)
    layers = len(best) - 1
    most = max(rooms.first, rooms.inner, rooms.last, rooms.output, rooms.whole)
    for start in range(end - 1, -1, -1):
        needed = costs.bytes(start, end)
        if needed > most:
            break
        before = best[start]
        if before is None or (wanted is not None and end - start != wanted):
            continue
        cost = before[0] + costs.of(start, end)
        if found is not None and cost >= found[0]:
            continue
        if needed <= rooms.for_run(start, end, layers) + (less[before[1][0]] if less else 0):
            found = cost, (*before[1], end - start)
    return found
