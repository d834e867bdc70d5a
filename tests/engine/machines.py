"""Models and machines for the planner's tests: figures of real ones, and a llama.cpp that counts by rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from localqwen.engine.activations import Role, formula, role_of
from localqwen.engine.candidate import Bytes, Candidate, Layout
from localqwen.engine.machine import Device, Speed
from localqwen.engine.search import Search
from localqwen.engine.shape import Shape
from localqwen.engine.slices import LayerSlices, Slices
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
    slices=(LayerSlices(Slices(83 * MIB, 8192, 1024, 256), Slices(416 * MIB, 29568, 128, 32)),) * 80,
    output_slices=Slices(int(974.5 * MIB), 152064),
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
    slices=(LayerSlices(Slices(2 * MIB, 896, 448, 32), Slices(10 * MIB, 4864, 128, 256)),) * 24,
)


SMALL = Shape(
    layer_bytes=(14 * MIB, 12 * MIB, 12 * MIB, 14 * MIB, 12 * MIB, 13 * MIB),
    layer_reads=(14 * MIB, 12 * MIB, 12 * MIB, 14 * MIB, 12 * MIB, 13 * MIB),
    output_bytes=30 * MIB,
    input_bytes=30 * MIB,
    tied=False,
    hidden=896,
    feed_forward=4864,
    kv_width=128,
    slices=(LayerSlices(Slices(2 * MIB, 896, 448, 32), Slices(10 * MIB, 4864, 128, 256)),) * 6,
    output_slices=Slices(30 * MIB, 40000),
)


def gpu(number: int, gib: float, read: float = 900e9, kind: DeviceKind = "gpu", rest: int = 96 * MIB) -> Device:
    """A card, or one of another machine, with so much memory free."""
    free = int(gib * GIB)
    speed = Speed(read, read * 200, 20e9, 20e-6) if kind != "rpc" else Speed(read, read * 200, 1e9, 200e-6)
    backend = "CUDA" if kind != "rpc" else "RPC"
    return Device(f"GPU{number}", f"Card of {read:.0f}", backend, kind, free, free + GIB, rest, speed)


def cpu(gib: float, read: float = 60e9) -> Device:
    """A CPU with so much RAM available."""
    free = int(gib * GIB)
    return Device("CPU", "Processor", "CPU", "cpu", free, free + GIB, 256 * MIB, Speed(read, read * 20, 20e9, 5e-6))


def layout_of(counts: Sequence[int]) -> Layout:
    """Of whole layers on the CPU and on each device."""
    if counts[0]:
        return "part"
    return "alone" if sum(count > 0 for count in counts) == 1 else "pipeline"


def every_split(layers: int, places: int) -> Iterator[tuple[int, ...]]:
    """Every way to put so many layers into so many places."""
    if places == 1:
        yield (layers,)
        return
    for first in range(layers + 1):
        for rest in every_split(layers - first, places - 1):
            yield (first, *rest)


def counted(search: Search, candidate: Candidate, more: float = 1.1) -> Sequence[Bytes]:
    """What a llama.cpp would count whose activations are ``more`` than the formula's, as those of some GPUs are."""
    key, start = candidate.key, candidate.counts[0]
    parts = search.estimate(candidate)
    found = []
    for part, count in zip(parts[:-1], candidate.counts[1:], strict=True):
        role: Role = "last" if key.layout == "tensor" else role_of(key, start, start + count, sum(candidate.counts))
        compute = int(more * formula(search.shape, key, role)) if count else 0
        found.append(Bytes(part.weights, part.kv, compute))
        start += count
    return [*found, Bytes(parts[-1].weights, parts[-1].kv, int(more * formula(search.shape, key, "host")))]
