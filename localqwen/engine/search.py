"""Finds the fastest placement that fits. Pure and deterministic: what llama.cpp says comes through a function.

llama.cpp puts the first layers on the CPU and then gives each device a run of layers, in the devices' order, the
output matrix as the last one. Costs and bytes add up over the layers, so the best runs for given KV type, ubatch and
context follow from dynamic programming, exactly. What cannot be known without asking llama.cpp are the activations:
they begin as a lower bound, and the best candidate is counted by llama.cpp and solved again with what it said, until
it fits as counted. Every other candidate is then worse even with its lower bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from localqwen.engine.candidate import Bytes, Candidate, Count, Found, Key, Wishes
from localqwen.engine.machine import Device
from localqwen.engine.shape import Shape
from localqwen.engine.speed import DEPTH, PROMPT_PER_ANSWER, SYNC_SECONDS, TENSOR_EFFICIENCY, Work, helper_for
from localqwen.plan import KvType

UBATCHES = (128, 256, 512, 1024, 2048)
AUTOMATIC_KV: tuple[KvType, ...] = ("f16", "q8_0")
DEFAULT_CONTEXT, LEAST_CONTEXT = 32768, 4096
MUCH = 1.1  # a longer context may cost so many times what a shorter one does
# A longer ubatch makes everybody wait longer for a stop or a turn, a rounder KV cache is less exact: both must earn it.
PER_DOUBLING, PER_KV_TYPE = 1.02, 1.02
COMMON_UBATCH = 512
# Of what the formula says about activations: a lower bound to begin with where llama.cpp will be asked, and on GPUs an
# upper one where it cannot be.
LOWER_BOUND, UPPER_BOUND = 0.9, 3.0
TENSOR_MARGIN = 1.1  # llama.cpp cannot be asked what a split of tensors takes
MOST_QUESTIONS = 16


@dataclass
class Search:
    """One model on one set of devices; ``tensors`` says that splitting every layer over the cards may be tried."""

    shape: Shape
    devices: Sequence[Device]
    cpu: Device
    wishes: Wishes
    native: int
    longest: int
    tensors: bool = True

    def __post_init__(self) -> None:
        self._extra: dict[Key, dict[int, int]] = {}
        self._solved: dict[Key, Candidate | None] = {}
        self._asking = True
        self.questions = 0

    def best(self, count: Count) -> Found | None:
        """The fastest candidate that fits as counted, or ``None``."""
        while (candidate := self._pick()) is not None:
            counted = count(candidate) if self._asking else None
            if counted is None:
                if candidate.key.split_mode == "tensor" or not self._asking:
                    return Found(candidate, tuple(self.estimate(candidate)), exact=False)
                self._stop_asking()
                continue
            self.questions += 1
            if self.questions == MOST_QUESTIONS:
                self._stop_asking()
            if self._fits(counted):
                return Found(candidate, tuple(counted), exact=True)
            self._learn(candidate, counted)
        return None

    def contexts(self) -> list[int]:
        """The context lengths in question, longest first."""
        wished = self.wishes.context
        if wished is not None:
            return [wished or self.longest]
        context = min(self.native, DEFAULT_CONTEXT)
        found = [context]
        while context // 2 >= min(LEAST_CONTEXT, self.native):
            context //= 2
            found.append(context)
        return found

    def every_key(self) -> Iterator[Key]:
        """Every combination in question."""
        wishes = self.wishes
        for context in self.contexts():
            for kv in (wishes.kv_type,) if wishes.kv_type else AUTOMATIC_KV:
                for ubatch in (wishes.ubatch,) if wishes.ubatch else UBATCHES:
                    if wishes.split_mode != "tensor":
                        yield Key(context, kv, ubatch, "layer", full=False)
                        if self.devices:
                            yield Key(context, kv, ubatch, "layer", full=True)
                    if kv == "f16" and self._may_split_tensors():
                        yield Key(context, kv, ubatch, "tensor", full=True)

    def estimate(self, candidate: Candidate) -> list[Bytes]:
        """What the formulas say of each device, the CPU's last."""
        key, shape = candidate.key, self.shape
        kv = shape.kv_bytes(key.context, key.kv_type)
        weights = [*shape.layer_bytes, shape.output_bytes]
        if key.split_mode == "tensor":
            part = len(self.devices)
            each = Bytes(
                math.ceil(sum(weights) / part * TENSOR_MARGIN), shape.layers * kv // part, self._overhead(key, 0)
            )
            return [*(each for _ in self.devices), self._host(key, 0)]
        found: list[Bytes] = []
        start = candidate.counts[0]
        for at, count in enumerate(candidate.counts[1:]):
            layers = min(start + count, shape.layers) - min(start, shape.layers)
            compute = self._overhead(key, at) if count else 0
            found.append(Bytes(sum(weights[start : start + count]), layers * kv, compute))
            start += count
        return [*found, self._host(key, candidate.counts[0])]

    def _host(self, key: Key, count: int) -> Bytes:
        shape = self.shape
        weights = sum([*shape.layer_bytes, 0 if shape.tied else shape.output_bytes][:count]) + shape.input_bytes
        kv = min(count, shape.layers) * shape.kv_bytes(key.context, key.kv_type)
        return Bytes(weights, kv, self._overhead(key, len(self.devices)))

    def _stop_asking(self) -> None:
        """Be careful from now on: what was a lower bound becomes an upper one."""
        self._asking = False
        self._solved.clear()

    def _pick(self) -> Candidate | None:
        """The best of the candidates as far as is known."""
        by_context: dict[int, Candidate] = {}
        for key in self.every_key():
            if key not in self._solved:
                self._solved[key] = self._solve(key)
            candidate = self._solved[key]
            if candidate is not None and (
                key.context not in by_context or candidate.score < by_context[key.context].score
            ):
                by_context[key.context] = candidate
        if not by_context:
            return None
        cheapest = min(candidate.score for candidate in by_context.values())
        return next(candidate for candidate in by_context.values() if candidate.score <= MUCH * cheapest)

    def _solve(self, key: Key) -> Candidate | None:
        work = Work(self.shape, key.context, key.kv_type, key.ubatch)
        return self._tensor(key, work) if key.split_mode == "tensor" else self._layers(key, work)

    def _tensor(self, key: Key, work: Work) -> Candidate | None:
        counts = (0, *self._even(self.shape.layers + 1))
        candidate = self._candidate(key, counts, 0.0, 0.0, 0.0)
        if not self._fits(self.estimate(candidate)):
            return None
        device, parts = self.devices[0], len(self.devices) * TENSOR_EFFICIENCY
        waiting = 2 * self.shape.layers * SYNC_SECONDS
        late, early = (sum(work.decode(device, depth)) / len(self.devices) + waiting for depth in (DEPTH, 0))
        return self._candidate(key, counts, late, early, sum(work.prefill(device)) / parts)

    def _layers(self, key: Key, work: Work) -> Candidate | None:
        """The better of what is best if a GPU computes the prompts of the CPU's layers, and if none does."""
        helpers = dict.fromkeys((None, None if key.full else helper_for(self.devices)))  # in this order: a tie is one
        found = [counts for helper in helpers if (counts := self._best_counts(key, work, helper)) is not None]
        return min((self.scored(key, counts) for counts in found), key=lambda one: one.score, default=None)

    def _best_counts(self, key: Key, work: Work, helper: Device | None) -> tuple[int, ...] | None:
        total = self.shape.layers + 1
        on_cpu, fixed = self._pinned(total)
        host = _Costs(work, self.cpu, helper)
        # best[i]: the least cost of the first i layers, and how many each device has of them.
        best: list[tuple[float, tuple[int, ...]] | None] = [None] * (total + 1)
        for count in on_cpu:
            if (count == 0) == key.full and self._host(key, count).all <= self.cpu.usable:
                best[count] = host.of(0, count), (count,)
        for at, device in enumerate(self.devices):
            costs = _Costs(work, device)
            room = device.usable - self._overhead(key, at)
            wanted = fixed[at] if fixed is not None else None
            # Room that the CPU's part leaves, by the CPU's layers, where both have the same memory.
            left = [
                self.cpu.usable - self._host(key, count).all - self._overhead(key, at)
                for count in range(total + 1)
                if device.shares_ram
            ]
            best = [self._extended(best, end, costs, room, wanted, left) for end in range(total + 1)]
        return None if (whole := best[total]) is None else whole[1]

    def scored(self, key: Key, counts: tuple[int, ...]) -> Candidate:
        """A candidate of whole layers, whether it fits or not."""
        work = Work(self.shape, key.context, key.kv_type, key.ubatch)
        used = [device for device, count in zip(self.devices, counts[1:], strict=True) if count]
        return self._candidate(key, counts, *self._seconds(work, counts, helper_for(used)))

    def _extended(
        self,
        best: Sequence[tuple[float, tuple[int, ...]] | None],
        end: int,
        costs: _Costs,
        room: int,
        wanted: int | None,
        left: Sequence[int],
    ) -> tuple[float, tuple[int, ...]] | None:
        """The least cost of the first ``end`` layers when one more device may take the last of them."""
        found: tuple[float, tuple[int, ...]] | None = None
        for start in range(end, -1, -1):
            count = end - start
            if count and costs.bytes(start, end) > room:
                break
            before = best[start]
            if before is None or (wanted is not None and count != wanted):
                continue
            if left and count and costs.bytes(start, end) > left[before[1][0]]:
                continue
            cost = before[0] + costs.of(start, end)
            if found is None or cost < found[0]:
                found = cost, (*before[1], count)
        return found

    def _seconds(self, work: Work, counts: Sequence[int], helper: Device | None) -> tuple[float, float, float]:
        """Of a token of the answer, late and early in a conversation, and of a token of the prompt."""
        late = early = prefill = 0.0
        start = 0
        for device, count in zip((self.cpu, *self.devices), counts, strict=True):
            if count:
                late += sum(work.decode(device)[start : start + count]) + device.speed.latency
                early += sum(work.decode(device, 0)[start : start + count]) + device.speed.latency
                by_gpu = helper if device is self.cpu else None
                prefill += sum(work.prefill(device, by_gpu)[start : start + count])
            start += count
        return late, early, prefill

    def _candidate(self, key: Key, counts: tuple[int, ...], late: float, early: float, prefill: float) -> Candidate:
        score = late + PROMPT_PER_ANSWER * prefill
        score *= PER_DOUBLING ** max(0.0, math.log2(key.ubatch / COMMON_UBATCH))
        if key.kv_type != "f16":
            score *= PER_KV_TYPE
        return Candidate(key, counts, early, prefill, score)

    def _pinned(self, total: int) -> tuple[range, Sequence[int] | None]:
        """How many layers the CPU may have, and how many each device must have if the user says so."""
        asked, parts = self.wishes.gpu_layers, self.wishes.tensor_split
        if not self.devices or (asked is None and parts is None):
            return range(total + 1), None
        offloaded = total if asked is None else min(asked, total)
        on_cpu = range(total - offloaded, total - offloaded + 1)
        return on_cpu, None if parts is None else split(parts, offloaded, len(self.devices))

    def _even(self, total: int) -> tuple[int, ...]:
        return split((1.0,) * len(self.devices), total, len(self.devices))

    def _may_split_tensors(self) -> bool:
        """Whether a split of tensors is in question; one that is asked for is, even if it failed before."""
        wishes = self.wishes
        pinned = wishes.tensor_split is not None or (
            wishes.gpu_layers is not None and wishes.gpu_layers <= self.shape.layers
        )
        wanted = wishes.split_mode == "tensor" or (wishes.split_mode is None and self.tensors)
        return wanted and not pinned and can_share_tensors(self.devices)

    def _overhead(self, key: Key, at: int) -> int:
        known = self._extra.get(key, {})
        if at in known:
            return known[at]
        factor = LOWER_BOUND
        if at < len(self.devices) and (not self._asking or key.split_mode == "tensor"):
            factor = UPPER_BOUND
        return int(factor * self.shape.compute_bytes(key.context, key.ubatch))

    def _fits(self, counted: Sequence[Bytes]) -> bool:
        devices = (*self.devices, self.cpu)
        in_ram = sum(part.all for part, one in zip(counted, devices, strict=True) if one.shares_ram)
        return in_ram <= self.cpu.usable and all(
            part.all <= device.usable for part, device in zip(counted, devices, strict=True)
        )

    def _learn(self, candidate: Candidate, counted: Sequence[Bytes]) -> None:
        """Take what llama.cpp counted beyond the formulas for what candidates of this key take besides."""
        known = self._extra.setdefault(candidate.key, {})
        for at, (said, part) in enumerate(zip(self.estimate(candidate), counted, strict=True)):
            more = part.all - said.weights - said.kv
            if at == len(self.devices) or candidate.counts[at + 1]:
                known[at] = max(known.get(at, more), more)
        del self._solved[candidate.key]


class _Costs:
    """Sums over runs of layers on one device."""

    def __init__(self, work: Work, device: Device, helper: Device | None = None) -> None:
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


def split(parts: Sequence[float], layers: int, devices: int) -> tuple[int, ...]:
    """How llama.cpp gives ``layers`` to devices by their parts: layer ``i`` of n to the first whose sum is over i/n."""
    parts = [*parts, *([0.0] * devices)][:devices]
    sums = [part / sum(parts) for part in accumulate(parts)]
    counts = [0] * devices
    for layer in range(layers):
        counts[next(at for at, end in enumerate(sums) if end > layer / layers)] += 1
    return tuple(counts)


def can_share_tensors(devices: Sequence[Device]) -> bool:
    """Whether these are several local cards of one kind."""
    kinds = {(device.kind, device.backend, device.description) for device in devices}
    return len(devices) > 1 and len(kinds) == 1 and devices[0].kind == "gpu"
