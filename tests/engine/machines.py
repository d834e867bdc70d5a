"""Models and machines for the planner's tests: figures of real ones, and a llama.cpp that counts by rule."""

from __future__ import annotations

from collections.abc import Sequence

from localqwen.engine.candidate import Bytes, Candidate
from localqwen.engine.machine import Device, Speed
from localqwen.engine.search import Search
from localqwen.engine.shape import Shape
from localqwen.plan import DeviceKind

MIB, GIB = 1 << 20, 1 << 30

# As llama.cpp makes it: layers with "more bits" and without take turns (measured through no_alloc).
QWEN2_72B = Shape(
    layer_bytes=tuple(int((588.5 if i % 2 else 499.8) * MIB) for i in range(80)),
    layer_reads=tuple(int((588.5 if i % 2 else 499.8) * MIB) for i in range(80)),
    output_bytes=int(974.5 * MIB),
    input_bytes=int(668.2 * MIB),
    tied=False,
    hidden=8192,
    feed_forward=29568,
    kv_width=1024,
)
QWEN2_05B = Shape(
    layer_bytes=(12 * MIB,) * 24,
    layer_reads=(12 * MIB,) * 24,
    output_bytes=110 * MIB,
    input_bytes=110 * MIB,
    tied=True,
    hidden=896,
    feed_forward=4864,
    kv_width=128,
)


def gpu(number: int, gib: float, read: float = 900e9, kind: DeviceKind = "gpu") -> Device:
    """A card with so much memory free."""
    free = int(gib * GIB)
    speed = Speed(read, read * 200, 20e9, 20e-6)
    return Device(f"GPU{number}", f"Card of {read:.0f}", "CUDA", kind, free, free + GIB, 96 * MIB, speed)


def cpu(gib: float, read: float = 60e9) -> Device:
    """A CPU with so much RAM available."""
    free = int(gib * GIB)
    return Device("CPU", "Processor", "CPU", "cpu", free, free + GIB, 256 * MIB, Speed(read, read * 20, 20e9, 5e-6))


def counted(search: Search, candidate: Candidate) -> Sequence[Bytes]:
    """What a llama.cpp would count whose activations are half as much again as the formula's, and more for each card
    that takes turns with others, as its pipelines need.
    """
    used = sum(count > 0 for count in candidate.counts[1:])
    factor = 1.5 + (0.5 * used if candidate.key.full and used > 1 else 0.0)
    compute = int(search.shape.compute_bytes(candidate.key.context, candidate.key.ubatch) * factor)
    parts = search.estimate(candidate)
    return [Bytes(part.weights, part.kv, compute if part.compute else 0) for part in parts]
