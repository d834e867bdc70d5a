"""safetensors headers, read with suspicion: a header is input from a stranger.

Format: an unsigned 64-bit little-endian length, that many bytes of JSON, then the tensors' bytes. The JSON maps names
to ``{"dtype", "shape", "data_offsets": [begin, end]}``, offsets counted from the end of the JSON.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from converters.errors import CheckpointError
from converters.source import LocalWeights, Weights

# A header needs about 120 bytes per tensor, and the largest checkpoint of the family has 5,000 tensors.
MAX_HEADER = 32_000_000
ITEM_SIZES = {"BF16": 2, "F16": 2, "F32": 4}
_OTHER_SIZES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
    "U16": 2, "I16": 2, "U32": 4, "I32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SourceTensor:
    """Where one tensor's bytes lie: row-major, little-endian, ``nbytes`` from ``offset`` of the file at ``path``."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    path: Path
    offset: int
    nbytes: int

    @property
    def item_size(self) -> int:
        """Bytes of one value."""
        return ITEM_SIZES[self.dtype]


def read_header(path: Path, weights: Weights | None = None) -> dict[str, SourceTensor]:
    """Read and check the header of a safetensors file.

    Args:
        path: names the file, and is where it is unless ``weights`` says otherwise.
        weights: serves the file under ``path.name``; by default it is read from its directory.

    Raises:
        CheckpointError: the file is no safetensors file, is cut short, or its header contradicts itself.
    """
    if weights is None:
        local = LocalWeights(path.parent)
        try:
            return read_header(path, local)
        finally:
            local.close()
    size = weights.size(path.name)
    raw = header_bytes(path, weights)
    return parse_header(path, raw[8:], size)


def header_bytes(path: Path, weights: Weights) -> bytes:
    """The beginning of a safetensors file: eight bytes of length, and the JSON.

    Raises:
        CheckpointError: the length makes no sense, or the file is shorter.
    """
    size = weights.size(path.name)
    if size < 8:
        raise CheckpointError(f"{path} is no safetensors file: {_redo()}")
    prefix = np.empty(8, np.uint8)
    weights.read(path.name, 0, prefix)
    length = int.from_bytes(prefix.tobytes(), "little")
    if not 2 <= length <= MAX_HEADER:
        raise CheckpointError(f"{path} is no safetensors file: {_redo()}")
    if 8 + length > size:
        raise _truncated(path, 8 + length, size)
    raw = np.empty(8 + length, np.uint8)
    weights.read(path.name, 0, raw)
    return raw.tobytes()


def parse_header(path: Path, raw: bytes, size: int) -> dict[str, SourceTensor]:
    """The tensors that the header's JSON describes in a file of ``size`` bytes.

    Raises:
        CheckpointError: it is no JSON, contradicts itself, or describes more than the file holds.
    """
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no safetensors file (its header is no JSON): {_redo()}") from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{path} is no safetensors file (its header is no JSON object): {_redo()}")
    header.pop("__metadata__", None)
    start = 8 + len(raw)
    tensors = {name: _tensor(path, name, entry, start) for name, entry in header.items()}
    end = start
    for tensor in sorted(tensors.values(), key=lambda tensor: tensor.offset):
        if tensor.offset < end:
            raise CheckpointError(f"{path} is damaged: tensor {tensor.name!r} overlaps another one; {_redo()}")
        end = tensor.offset + tensor.nbytes
    if end > size:
        raise _truncated(path, end, size)
    return tensors


def _tensor(path: Path, name: str, entry: Any, start: int) -> SourceTensor:
    damaged = CheckpointError(f"{path} is damaged: its header describes tensor {name!r} wrongly; {_redo()}")
    if not isinstance(entry, dict):
        raise damaged
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not (isinstance(dtype, str) and _naturals(shape) and _naturals(offsets) and len(offsets) == 2):
        raise damaged
    item = ITEM_SIZES.get(dtype) or _OTHER_SIZES.get(dtype)
    if item is None:
        raise unsupported(path, name, dtype)
    begin, end = offsets
    if end - begin != math.prod(shape) * item:
        raise damaged
    return SourceTensor(name, dtype, tuple(shape), path, start + begin, end - begin)


def unsupported(path: Path, name: str, dtype: str) -> CheckpointError:
    """The error for a tensor that holds neither bf16, f16 nor f32."""
    return CheckpointError(
        f"{path} stores tensor {name!r} as {dtype}, and only BF16, F16 and F32 can be converted: "
        "take the original checkpoint instead of a quantized one (fp8, GPTQ, AWQ)."
    )


def _naturals(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(
        isinstance(item, int) and not isinstance(item, bool) and item >= 0 for item in value
    )


def _truncated(path: Path, expected: int, size: int) -> CheckpointError:
    return CheckpointError(f"{path} is cut short ({size:,} of at least {expected:,} bytes): {_redo()}")


def _redo() -> str:
    return "download it again."
