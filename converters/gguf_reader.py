"""The header of a GGUF file, read with suspicion: every count in it is input from a stranger.

Format: ggml's ``docs/gguf.md``, versions 2 and 3, little-endian. Nothing is allocated because a file says so: what is
kept of long strings and arrays is cut, and the rest is passed over. (The ``gguf`` package's reader builds one object
per array element, however many a file claims to have.)
"""

from __future__ import annotations

import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from converters.errors import GGUFError
from converters.gguf_format import ALIGNMENT, MAGIC

VERSIONS = (2, 3)
MAX_PAIRS = 1 << 14
MAX_TENSORS = 1 << 16
# Qwen2's tokens and merges are 300,000 strings; going through this many takes some ten seconds.
MAX_ELEMENTS = 1 << 25
MAX_NAME = 1 << 10
MAX_DIMENSIONS = 4  # GGML_MAX_DIMS
# Bytes of a string that are kept (a chat template has up to 20,000), and of all strings together.
MAX_TEXT = 1 << 20
MAX_ALL_TEXT = 1 << 24
# What is kept of an array.
FIRST = 8
FIRST_TEXT = 200

_STRING, _ARRAY = 8, 9
_NAMES = {_STRING: "str", _ARRAY: "arr"}
_SCALARS = {
    0: ("u8", "<B"), 1: ("i8", "<b"), 2: ("u16", "<H"), 3: ("i16", "<h"), 4: ("u32", "<I"), 5: ("i32", "<i"),
    6: ("f32", "<f"), 7: ("bool", "<?"), 10: ("u64", "<Q"), 11: ("i64", "<q"), 12: ("f64", "<d"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Array:
    """An array of ``count`` values of a type, with the ``first`` few of them."""

    type: str
    count: int
    first: tuple[Scalar, ...]


Scalar = int | float | bool | str
Value = Scalar | Array


@dataclass(frozen=True, slots=True)
class Tensor:
    """One line of the tensor table: ``dims`` rows first, ``kind`` ggml's number of the type.

    ``offset`` counts from the start of the data section.
    """

    name: str
    dims: tuple[int, ...]
    kind: int
    offset: int

    @property
    def weights(self) -> int:
        """Number of values."""
        return math.prod(self.dims)


@dataclass(frozen=True)
class Header:
    """All that stands before a GGUF's tensor data; ``data`` is where that begins and ``size`` where the file ends."""

    version: int
    metadata: dict[str, Value]
    tensors: tuple[Tensor, ...]
    alignment: int
    data: int
    size: int


def read_gguf(path: Path) -> Header:
    """Read the header of the GGUF at ``path``.

    Memory stays below about 60 MB and time below about a minute, whatever the file holds.

    Raises:
        GGUFError: it cannot be opened, is no GGUF, is cut off inside its header, or its header makes no sense.
    """
    try:
        if not path.is_file():
            raise GGUFError(f"{path} {'is no regular file' if path.exists() else 'does not exist'}: give a GGUF file.")
        with path.open("rb") as file:
            return _Reader(path, file).header()
    except OSError as error:
        raise GGUFError(f"Cannot read {path}: {error.strerror or error}; check its permissions.") from error


class _Reader:
    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._at = 0
        self._text = 0  # bytes of strings kept
        self._elements = 0  # array elements seen

    def header(self) -> Header:
        if self._take(min(4, self._size)) != MAGIC:
            raise GGUFError(f"{self._path} is no GGUF file: give one, or a checkpoint's folder.")
        version = self._number("<I")
        if version not in VERSIONS:
            # A big-endian file's version looks like a very large one.
            kind = "big-endian" if version & 0xFFFF == 0 else f"GGUF version {version}"
            raise GGUFError(f"{self._path} is {kind}, which cannot be read: convert the model again.")
        tensors = self._count("tensors", MAX_TENSORS, "<Q")
        pairs = self._count("metadata keys", MAX_PAIRS, "<Q")
        metadata: dict[str, Value] = {}
        for _ in range(pairs):
            key = self._name("a metadata key")
            if key in metadata:
                raise self._damaged(f"the metadata key {key[:80]!r} comes twice")
            metadata[key] = self._value(key)
        alignment = metadata.get("general.alignment", ALIGNMENT)
        if type(alignment) is not int or alignment <= 0 or alignment & (alignment - 1):
            raise self._damaged("its alignment is no power of two")
        table = tuple(self._tensor() for _ in range(tensors))
        if len({tensor.name for tensor in table}) < len(table):
            raise self._damaged("two tensors have the same name")
        data = (self._at + alignment - 1) // alignment * alignment
        return Header(version, metadata, table, alignment, data, self._size)

    def _tensor(self) -> Tensor:
        name = self._name("a tensor's name")
        count = self._number("<I")
        if count > MAX_DIMENSIONS:
            raise self._damaged(f"tensor {name[:80]!r} has {count} dimensions")
        # ggml counts dimensions from the fastest one: columns come first.
        dims = tuple(self._number("<q") for _ in range(count))[::-1]
        if any(size < 0 for size in dims) or math.prod(dims) >= 1 << 63:
            raise self._damaged(f"tensor {name[:80]!r} has impossible dimensions")
        kind = self._number("<I")
        return Tensor(name, dims, kind, self._number("<Q"))

    def _value(self, key: str) -> Value:
        kind = self._number("<I")
        if kind == _ARRAY:
            return self._array(key)
        if kind == _STRING:
            return self._string(MAX_TEXT)
        return self._scalar(kind, key)

    def _array(self, key: str) -> Array:
        kind = self._number("<I")
        count = self._count(f"elements of {key[:80]!r}", MAX_ELEMENTS - self._elements, "<Q")
        self._elements += count
        if kind == _STRING:
            first = tuple(self._string(FIRST_TEXT) for _ in range(min(count, FIRST)))
            for _ in range(count - len(first)):
                self._skip(self._number("<Q"))
            return Array("str", count, first)
        if kind not in _SCALARS:
            raise self._damaged(f"{key[:80]!r} is an array of an unknown type ({kind})")
        name, form = _SCALARS[kind]
        values = tuple(self._scalar(kind, key) for _ in range(min(count, FIRST)))
        self._skip((count - len(values)) * struct.calcsize(form))
        return Array(name, count, values)

    def _scalar(self, kind: int, key: str) -> int | float | bool:
        if kind not in _SCALARS:
            raise self._damaged(f"{key[:80]!r} has an unknown type ({kind})")
        form = _SCALARS[kind][1]
        value: int | float | bool = struct.unpack(form, self._take(struct.calcsize(form)))[0]
        return value

    def _name(self, what: str) -> str:
        length = self._number("<Q")
        if length > MAX_NAME:
            raise self._damaged(f"{what} has {length} bytes")
        return self._keep(length)

    def _string(self, most: int) -> str:
        """A string, of which at most the first ``most`` bytes are kept."""
        length = self._number("<Q")
        if length <= most:
            return self._keep(length)
        self._within(length)
        text = self._keep(most)
        self._skip(length - most)
        return f"{text}…"

    def _keep(self, length: int) -> str:
        self._text += length
        if self._text > MAX_ALL_TEXT:
            raise self._damaged(f"its header holds more than {MAX_ALL_TEXT >> 20} MiB of text")
        return self._take(length).decode("utf-8", "replace")

    def _count(self, what: str, most: int, form: str) -> int:
        count = self._number(form)
        if count > most:
            raise self._damaged(f"it claims to have {count} {what}")
        return count

    def _number(self, form: str) -> int:
        value: int = struct.unpack(form, self._take(struct.calcsize(form)))[0]
        return value

    def _take(self, length: int) -> bytes:
        self._within(length)
        data = self._file.read(length)
        if len(data) < length:  # it became shorter meanwhile
            raise self._cut()
        self._at += length
        return data

    def _skip(self, length: int) -> None:
        self._within(length)
        self._at += length
        # Short steps are read, because seeking would throw the buffer away.
        if length < 4096:
            self._file.read(length)
        else:
            self._file.seek(self._at)

    def _within(self, length: int) -> None:
        if self._at + length > self._size:
            raise self._cut()

    def _cut(self) -> GGUFError:
        return GGUFError(f"{self._path} is cut off inside its header: copy, download or convert it again.")

    def _damaged(self, what: str) -> GGUFError:
        return GGUFError(f"{self._path} is damaged, {what}: copy, download or convert it again.")
