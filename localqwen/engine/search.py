"""Finds the fastest placement that fits. Pure and deterministic: what llama.cpp says comes through a function.

For given context, KV type, ubatch and kind of layout, the best runs of layers follow exactly from what is known of the
activations (:mod:`localqwen.engine.runs`). What cannot be known without asking llama.cpp are those: they begin as
lower bounds, and the best candidate is counted by llama.cpp and solved again with what it said, until it fits as
counted. Every other candidate is then worse even with its lower bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from localqwen.engine.activations import Activations, role_of
from localqwen.engine.candidate import Bytes, Candidate, Count, Found, Key, Layout, Wishes
from localqwen.engine.machine import Device
from localqwen.engine.runs import NO_ROOM, Rooms, RunCosts, on_cpu, with_device
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
        self._activations = Activations(self.shape, self.devices)
        self._solved: dict[Key, Candidate | None] = {}
        self.questions = 0

    def best(self, count: Count) -> Found | None:
        """The fastest candidate that fits as counted, or ``None``."""
        while (candidate := self._pick()) is not None:
            counted = count(candidate) if self._activations.may_ask else None
            estimated = self.estimate(candidate)
            if counted is None:
                if not self._activations.may_ask:
                    return Found(candidate, tuple(estimated), exact=False)
                self._stop_asking()
                continue
            self.questions += 1
            if self._fits(counted):
                return Found(candidate, tuple(counted), exact=True)
            self._activations.learn(candidate, estimated, counted, self.cpu)
            del self._solved[candidate.key]
            if self.questions == MOST_QUESTIONS:
                self._stop_asking()
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
                    for layout in self._layouts(kv):
                        yield Key(context, kv, ubatch, layout)

    def estimate(self, candidate: Candidate) -> list[Bytes]:
        """What the formulas, and what was counted so far, say of each device, the CPU's last."""
        key, shape = candidate.key, self.shape
        if key.layout == "tensor":
            shares = zip(self.devices, shape.shared(len(self.devices), key.context, key.kv_type), strict=True)
            cards = [Bytes(*share, self._activations.on(key, device, "last")) for device, share in shares]
            return [*cards, self._host(key, 0)]
        kv = shape.kv_bytes(key.context, key.kv_type)
        weights = [*shape.layer_bytes, shape.output_bytes]
        found: list[Bytes] = []
        start = candidate.counts[0]
        for device, count in zip(self.devices, candidate.counts[1:], strict=True):
            end = start + count
            layers = min(end, shape.layers) - min(start, shape.layers)
            role = role_of(key, start, end, len(weights))
            compute = self._activations.on(key, device, role) if count else 0
            found.append(Bytes(sum(weights[start:end]), layers * kv, compute))
            start = end
        return [*found, self._host(key, candidate.counts[0])]

    def scored(self, key: Key, counts: tuple[int, ...]) -> Candidate:
        """A candidate of whole layers, whether it fits or not."""
        work = Work(self.shape, key.context, key.kv_type, key.ubatch)
        used = [device for device, count in zip(self.devices, counts[1:], strict=True) if count]
        return self._candidate(key, counts, *self._seconds(work, counts, helper_for(used)))

    def _layouts(self, kv: KvType) -> Iterator[Layout]:
        if self.wishes.split_mode != "tensor":
            yield "part"
            if self.devices:
                yield "alone"
            if len(self.devices) > 1:
                yield "pipeline"
        if kv == "f16" and self._may_split_tensors():
            yield "tensor"

    def _host(self, key: Key, count: int) -> Bytes:
        shape = self.shape
        weights = sum([*shape.layer_bytes, 0 if shape.tied else shape.output_bytes][:count]) + shape.input_bytes
        kv = min(count, shape.layers) * shape.kv_bytes(key.context, key.kv_type)
        return Bytes(weights, kv, self._activations.on(key, self.cpu, "host"))

    def _stop_asking(self) -> None:
        """Be careful from now on."""
        self._activations.may_ask = False
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
        if key.layout == "tensor":
            return self._tensor(key, work)
        # The better of what is best if a GPU computes the prompts of the CPU's layers, and if none does.
        helpers = dict.fromkeys((None, helper_for(self.devices) if key.layout == "part" else None))
        found = [counts for helper in helpers if (counts := self._best_counts(key, work, helper)) is not None]
        return min((self.scored(key, counts) for counts in found), key=lambda one: one.score, default=None)

    def _tensor(self, key: Key, work: Work) -> Candidate | None:
        counts = (0, *split((1.0,) * len(self.devices), self.shape.layers + 1, len(self.devices)))
        candidate = self._candidate(key, counts, 0.0, 0.0, 0.0)
        if not self._fits(self.estimate(candidate)):
            return None
        device, parts = self.devices[0], len(self.devices) * TENSOR_EFFICIENCY
        waiting = 2 * self.shape.layers * SYNC_SECONDS
        late, early = (sum(work.decode(device, depth)) / len(self.devices) + waiting for depth in (DEPTH, 0))
        return self._candidate(key, counts, late, early, sum(work.prefill(device)) / parts)

    def _best_counts(self, key: Key, work: Work, helper: Device | None) -> tuple[int, ...] | None:
        total = self.shape.layers + 1
        cpu_counts, fixed = self._pinned(total)
        best = on_cpu(
            RunCosts(work, self.cpu, helper),
            [count for count in cpu_counts if (count == 0) == key.full],
            lambda count: self._host(key, count).all <= self.cpu.usable,
            total,
        )
        for at, device in enumerate(self.devices):
            wanted = fixed[at] if fixed is not None else None
            # What the CPU's part takes away, by its layers, where both have the same memory.
            less = [
                min(0, self.cpu.usable - self._host(key, count).all - device.usable)
                for count in range(total + 1)
                if device.shares_ram
            ]
            best = with_device(best, RunCosts(work, device), self._rooms(key, device), wanted, less)
        return None if (whole := best[total]) is None else whole[1]

    def _rooms(self, key: Key, device: Device) -> Rooms:
        first, inner, last, output = (
            device.usable - self._activations.on(key, device, role) for role in ("first", "inner", "last", "output")
        )
        if key.layout == "alone":
            return Rooms(NO_ROOM, NO_ROOM, NO_ROOM, NO_ROOM, last)
        return Rooms(first, inner, last, output, NO_ROOM)

    def _seconds(self, work: Work, counts: Sequence[int], helper: Device | None) -> tuple[float, float, float]:
        """Of a token of the answer, late and early in a conversation, and of a token of the prompt."""
        late = early = prefill = 0.0
        start = 0
        for device, count in zip((self.cpu, *self.devices), counts, strict=True):
            if count:
                end, latency = start + count, device.speed.latency
                late += sum(work.decode(device)[start:end]) + latency
                early += sum(work.decode(device, 0)[start:end]) + latency
                by_gpu = helper if device is self.cpu else None
                prefill += sum(work.prefill(device, by_gpu)[start:end])
                start = end
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
        kept = range(total - offloaded, total - offloaded + 1)
        return kept, None if parts is None else split(parts, offloaded, len(self.devices))

    def _may_split_tensors(self) -> bool:
        """Whether a split of tensors is in question; one that is asked for is, even if it failed before."""
        wishes = self.wishes
        pinned = wishes.tensor_split is not None or (
            wishes.gpu_layers is not None and wishes.gpu_layers <= self.shape.layers
        )
        asked = wishes.split_mode == "tensor"
        wanted = asked or (wishes.split_mode is None and self.tensors)
        return wanted and not pinned and can_share_tensors(self.devices, asked=asked)

    def _fits(self, counted: Sequence[Bytes]) -> bool:
        devices = (*self.devices, self.cpu)
        in_ram = sum(part.all for part, one in zip(counted, devices, strict=True) if one.shares_ram)
        return in_ram <= self.cpu.usable and all(
            part.all <= device.usable for part, device in zip(counted, devices, strict=True)
        )


def split(parts: Sequence[float], layers: int, devices: int) -> tuple[int, ...]:
    """How llama.cpp gives ``layers`` to devices by their parts: layer ``i`` of n to the first whose sum is over i/n."""
    parts = [*parts, *([0.0] * devices)][:devices]
    sums = [part / sum(parts) for part in accumulate(parts)]
    counts = [0] * devices
    for layer in range(layers):
        counts[next(at for at, end in enumerate(sums) if end > layer / layers)] += 1
    return tuple(counts)


def can_share_tensors(devices: Sequence[Device], *, asked: bool = False) -> bool:
    """Whether these are several local cards of one kind, or, if the user has asked, at least of one backend."""
    if asked:
        return len(devices) > 1 and len({(device.kind, device.backend) for device in devices}) == 1
    kinds = {(device.kind, device.backend, device.description) for device in devices}
    return len(devices) > 1 and len(kinds) == 1 and devices[0].kind == "gpu"
