"""What an ubatch's activations take: by formula before llama.cpp was asked, and by its own count afterwards. Pure.

llama.cpp allocates so many bytes for each token of an ubatch, whatever the number of layers. Which vectors live at the
same time depends on what a device does: three of the feed-forward's width and two to four of the model's, the rows of
the attention mask in f16, and where devices take turns, four copies of what they hand on. The factors below are those
with which the formula gives what llama.cpp counts for Qwen2 of 0.5B, 7B and 72B (tests/engine/test_activations.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from localqwen.engine.candidate import Bytes, Candidate, Key
from localqwen.engine.machine import Device
from localqwen.engine.shape import Shape, rounded

# What a device is among those that have layers: the output matrix alone, the first of a pipeline, the last, another
# one; or the CPU.
Role: TypeAlias = Literal["output", "first", "last", "inner", "host"]

F32, F16 = 4, 2
COPIES = 4  # of a pipeline's inputs: GGML_SCHED_MAX_COPIES
# The formula is meant for any model of this kind, and experts need less than a feed-forward of their width.
LOWER, SPARSE_LOWER = 0.95, 0.5
UPPER, UPPER_MORE = 1.15, 32 << 20  # the logits, and what backends round up


def formula(shape: Shape, key: Key, role: Role) -> int:
    """Bytes of an ubatch's activations on a device in this role."""
    mask = F16 * rounded(key.context)
    wide, width = 3 * F32 * shape.feed_forward, F32 * shape.hidden
    more = 1 if key.kv_type == "f16" else 0  # Q, K and V live a little longer
    if role == "output":
        return 0
    if key.layout == "part":
        each = wide + ((3 + more) if role == "host" else 2) * width + mask
    elif role == "host":
        each = 5 * width + COPIES * mask if key.layout == "pipeline" else 2 * width + mask
    else:
        each = wide + (2 + more) * width + mask
        if key.layout == "pipeline":
            each += (1 if role == "first" else 2) * COPIES * width + (COPIES - 1) * mask
    return key.ubatch * each


def lower_bound(shape: Shape, key: Key, role: Role) -> int:
    """No device takes less."""
    return int((SPARSE_LOWER if shape.sparse else LOWER) * formula(shape, key, role))


def upper_bound(shape: Shape, key: Key, role: Role) -> int:
    """No device takes more. Some kernels of GPUs make a layer's quantized K and V f16 before they use it."""
    if role == "output":
        role = "last"
    converted = shape.kv_bytes(key.context, "f16") if key.kv_type != "f16" and role != "host" else 0
    return int(UPPER * formula(shape, key, role)) + UPPER_MORE + converted


def role_of(key: Key, start: int, end: int, layers: int) -> Role:
    """Of a device with ``start`` to ``end - 1`` of ``layers``, the output matrix being the last of them."""
    if end == layers:
        return "output" if end - start == 1 else "last"
    return "first" if key.layout == "pipeline" and start == 0 else "inner"


@dataclass(frozen=True, slots=True)
class _Place:
    key: Key
    role: Role
    backend: str


class Activations:
    """What activations take, as far as is known: bounds by formula, replaced by what was counted."""

    def __init__(self, shape: Shape, devices: Sequence[Device]) -> None:
        self._shape = shape
        self._devices = devices
        self._counted: dict[_Place, int] = {}
        self.may_ask = True  # or else be careful: what was a lower bound becomes an upper one

    def on(self, key: Key, device: Device, role: Role) -> int:
        """On a device in this role."""
        known = self._counted.get(_Place(key, role, device.backend))
        if known is not None:
            return known
        return (lower_bound if self.may_ask else upper_bound)(self._shape, key, role)

    def learn(self, candidate: Candidate, estimated: Sequence[Bytes], counted: Sequence[Bytes], cpu: Device) -> None:
        """Take what llama.cpp counted, which is for any other candidate of this key too."""
        key, start = candidate.key, candidate.counts[0]
        for at, (said, part) in enumerate(zip(estimated, counted, strict=True)):
            more = part.all - said.weights - said.kv
            if at == len(self._devices):
                self._note(_Place(key, "host", cpu.backend), more)
            elif count := candidate.counts[at + 1]:
                layers = self._shape.layers + 1
                role: Role = "last" if key.layout == "tensor" else role_of(key, start, start + count, layers)
                self._note(_Place(key, role, self._devices[at].backend), more)
                start += count

    def _note(self, place: _Place, size: int) -> None:
        self._counted[place] = max(size, self._counted.get(place, size))
