"""What the planner's search deals with. Values only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from localqwen.plan import KvType, SplitMode

# Layers in RAM, beside cards or without any; all on one card; all on several that take turns; each on several at once.
Layout: TypeAlias = Literal["part", "alone", "pipeline", "tensor"]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user pinned; ``None`` is planned.

    ``gpu_layers`` counts as llama.cpp does, the output matrix as one. ``tensor_split`` are parts of the layers for
    each device, ``context`` tokens, 0 for as many as the model can.
    """

    context: int | None = None
    kv_type: KvType | None = None
    ubatch: int | None = None
    gpu_layers: int | None = None
    tensor_split: tuple[float, ...] | None = None
    split_mode: SplitMode | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """All of a candidate but the layers."""

    context: int
    kv_type: KvType
    ubatch: int
    layout: Layout

    @property
    def split_mode(self) -> SplitMode:
        """As llama.cpp calls it."""
        return "tensor" if self.layout == "tensor" else "layer"

    @property
    def full(self) -> bool:
        """Whether the CPU has no layer."""
        return self.layout != "part"


@dataclass(frozen=True, slots=True)
class Candidate:
    """``counts`` are layers on each device, the output matrix as one, and the CPU's first.

    Seconds are per token; those of ``decode`` at the beginning of a conversation.
    """

    key: Key
    counts: tuple[int, ...]
    decode: float
    prefill: float
    score: float


@dataclass(frozen=True, slots=True)
class Bytes:
    """What llama.cpp counted on a device."""

    weights: int
    kv: int
    compute: int

    @property
    def all(self) -> int:
        """The sum."""
        return self.weights + self.kv + self.compute


# Of each device in order and of the CPU at the end; None where llama.cpp cannot be asked.
Count = Callable[[Candidate], Sequence[Bytes] | None]


@dataclass(frozen=True, slots=True)
class Found:
    """The best candidate, and its bytes on each device with the CPU's last."""

    candidate: Candidate
    bytes: tuple[Bytes, ...]
    exact: bool
