"""Turns the cached K of a saved sequence from one YaRN factor to another. Pure.

The rotary embedding turns pair i of K at position p by the angle p * f_i and, under YaRN, stretches it by m. Both are
known for either factor, so K is turned on by p * (new f_i - old f_i) and stretched by new m / old m; V has no position.
For the first layer this is exact up to f16. The inputs of later layers were computed under the old factor, so there it
is an approximation, of which benchmarks/results/yarn.md tells how close it is.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from localqwen.engine.rope import STEP, Rope

F16 = 1  # GGML_TYPE_F16
CHUNK = 2048  # positions at a time: 32 MiB of scratch for Qwen2-72B's K

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class KeyShape:
    """The width of one head's K, all of which is rotated, and the rotary base and YaRN's betas of the file."""

    head_width: int
    base: float
    beta_fast: float = 32.0
    beta_slow: float = 1.0


class StateError(ValueError):
    """A saved sequence is not laid out as llama.cpp lays out a cache of f16 without more than K and V."""


def frequencies(shape: KeyShape, rope: Rope) -> tuple[Floats, float]:
    """The angle per position of each pair, shape ``(head_width / 2,)``, and the stretch of K.

    YaRN's "NTK-by-parts" and its temperature (https://arxiv.org/abs/2309.00071, sections 3.2 and 3.4), as ggml
    computes them (``ggml_rope_yarn_corr_dims``, ``rope_yarn``).
    """
    width = shape.head_width
    pairs = np.arange(width // 2)
    trained = shape.base ** (-2 * pairs / width)
    if rope.factor == 1:
        return trained, 1.0

    def pair_that_turns(turns: float) -> float:
        return width * math.log(rope.original / (turns * 2 * math.pi)) / (2 * math.log(shape.base))

    low = max(0, math.floor(pair_that_turns(shape.beta_fast)))
    high = min(width - 1, math.ceil(pair_that_turns(shape.beta_slow)))
    kept = 1 - np.clip((pairs - low) / max(0.001, high - low), 0, 1)
    return trained * (kept + (1 - kept) / rope.factor), 1 + 0.1 * math.log(rope.factor)


def close_enough(computed: Rope, new: Rope) -> bool:
    """Whether what was computed under one factor may be turned to another instead of being computed again.

    One step of :data:`~localqwen.engine.rope.STEP`, as measured: the NLL of what follows stays within 1 % and the most
    likely token is the same at 95 % of the positions. Two steps are not: so ask about the factor under which the
    oldest part of the cache was computed, not the one to which it was turned since.
    """
    return not (computed.from_file or new.from_file) and 0 <= new.factor - computed.factor <= STEP


def rerope(state: bytearray | memoryview, shape: KeyShape, old: Rope, new: Rope) -> None:
    """Turn every K in a state of ``llama_state_seq_get_data`` from ``old`` to ``new``, in place.

    Raises :class:`StateError`, and has then changed nothing, for a state that is laid out otherwise: a quantized
    cache, or heads of another width.
    """
    positions, layers = _layout(state, shape)
    (old_angles, old_stretch), (new_angles, new_stretch) = frequencies(shape, old), frequencies(shape, new)
    stretch = new_stretch / old_stretch
    half = shape.head_width // 2
    for start in range(0, len(positions), CHUNK):
        # In float64: an angle of 30000 radians leaves float32 only two digits after the point.
        angles = positions[start : start + CHUNK, None] * (new_angles - old_angles)
        cos = (np.cos(angles) * stretch).astype(np.float32)[:, None]
        sin = (np.sin(angles) * stretch).astype(np.float32)[:, None]
        for offset, row in layers:
            flat = np.frombuffer(state, np.float16, len(angles) * row, offset + 2 * start * row)
            heads = flat.reshape(len(angles), -1, shape.head_width)
            # Qwen2 pairs the halves of a head (NEOX order), not neighbours as llama does.
            first, second = heads[..., :half].astype(np.float32), heads[..., half:].astype(np.float32)
            heads[..., :half] = first * cos - second * sin
            heads[..., half:] = first * sin + second * cos


def _layout(state: bytearray | memoryview, shape: KeyShape) -> tuple[Floats, list[tuple[int, int]]]:
    """The positions of the cells, and of each layer's K the offset in bytes and the elements of a row.

    From ``llama_kv_cache::state_write``: magic, sequence, streams; of each stream the cells, of which only one stream
    has any; of each cell the position and the sequences; then K of all layers, then V.
    """
    at = 8
    try:
        (streams,) = struct.unpack_from("<I", state, at)
        cells = 0
        for _ in range(streams):
            at += 4
            (cells,) = struct.unpack_from("<I", state, at)
            if cells:
                break
        if not cells:
            return np.empty(0), []
        at += 4
        table = np.frombuffer(state, np.int32, 3 * cells, at).reshape(cells, 3)
        if (table[:, 1] != 1).any():
            raise StateError("A cell belongs to several sequences.")
        at += table.nbytes
        _, count = struct.unpack_from("<II", state, at)
        at += 8
        layers = []
        for _ in range(count):
            kind, row = struct.unpack_from("<iQ", state, at)
            at += 12
            if kind != F16 or row % (2 * shape.head_width):
                raise StateError(f"K has type {kind} and rows of {row} bytes.")
            layers.append((at, row // 2))
            at += cells * row
        if at > len(state):
            raise StateError("The state is cut off.")
    except (struct.error, ValueError) as error:
        raise StateError(f"The state cannot be read: {error}") from error
    return table[:, 0].astype(np.float64), layers
