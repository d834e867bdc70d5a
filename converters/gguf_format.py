"""GGUF version 3, the writing side: typed metadata and the tensor table, as bytes.

The layout is that of ggml's ``docs/gguf.md``: little-endian, strings with a 64-bit length, tensor data aligned to 32.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from converters.ggml import GGMLType

ALIGNMENT = 32
MAGIC = b"GGUF"
VERSION = 3


_LENGTH = struct.Struct("<Q").pack


class ValueType(IntEnum):
    """Type tags of metadata values."""

    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9


_FORMATS = {
    ValueType.UINT32: "<I",
    ValueType.INT32: "<i",
    ValueType.FLOAT32: "<f",
    ValueType.BOOL: "<?",
}


class TensorInfo(NamedTuple):
    """One line of the tensor table: dimensions rows first, ``offset`` relative to the start of the data section."""

    name: str
    dims: tuple[int, ...]
    kind: GGMLType
    offset: int


def align(size: int) -> int:
    """Round up to GGUF's alignment."""
    return (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


class Metadata:
    """Key-value pairs in the order in which they were added, encoded as they come.

    Empty strings and empty arrays are left out, as llama.cpp's own writer does, unless ``keep_empty``.
    """

    def __init__(self) -> None:
        self._pairs: dict[str, bytes] = {}

    def u32(self, key: str, value: int) -> None:
        self._scalar(key, ValueType.UINT32, value)

    def i32(self, key: str, value: int) -> None:
        self._scalar(key, ValueType.INT32, value)

    def f32(self, key: str, value: float) -> None:
        self._scalar(key, ValueType.FLOAT32, value)

    def boolean(self, key: str, value: bool) -> None:
        self._scalar(key, ValueType.BOOL, value)

    def string(self, key: str, value: str, *, keep_empty: bool = False) -> None:
        if value or keep_empty:
            self._pairs[key] = struct.pack("<I", ValueType.STRING) + _string(value)

    def strings(self, key: str, values: Sequence[str]) -> None:
        self._array(key, ValueType.STRING, len(values), b"".join(map(_string, values)))

    def i32s(self, key: str, values: Sequence[int]) -> None:
        self._array(key, ValueType.INT32, len(values), struct.pack(f"<{len(values)}i", *values))

    def __contains__(self, key: str) -> bool:
        return key in self._pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def encode(self) -> bytes:
        """All pairs, without a count before them."""
        return b"".join(_string(key) + value for key, value in self._pairs.items())

    def _scalar(self, key: str, kind: ValueType, value: float | bool) -> None:
        try:
            self._pairs[key] = struct.pack("<I", kind) + struct.pack(_FORMATS[kind], value)
        except (struct.error, OverflowError) as error:
            raise ValueError(f"{key} cannot hold {value!r}") from error

    def _array(self, key: str, kind: ValueType, count: int, body: bytes) -> None:
        if count:
            self._pairs[key] = struct.pack("<IIQ", ValueType.ARRAY, kind, count) + body


def encode_header(metadata: Metadata, tensors: Sequence[TensorInfo]) -> bytes:
    """Everything before the tensor data, padded to the alignment."""
    parts = [MAGIC, struct.pack("<IQQ", VERSION, len(tensors), len(metadata)), metadata.encode()]
    for tensor in tensors:
        # ggml counts dimensions from the fastest one: columns come first.
        dims = tensor.dims[::-1]
        parts.append(_string(tensor.name))
        parts.append(struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, tensor.kind, tensor.offset))
    header = b"".join(parts)
    return header.ljust(align(len(header)), b"\0")


def _string(text: str) -> bytes:
    # Lone surrogates can come out of a JSON file; llama.cpp needs valid UTF-8.
    data = text.encode("utf-8", "replace")
    return _LENGTH(len(data)) + data
