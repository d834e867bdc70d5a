"""Importance matrices: how much each input column of a matrix mattered on some text, for better rounding.

Both forms that llama.cpp knows are read, and turned into importances as its quantizer does (``common_imatrix_load``
in ``common/imatrix-loader.cpp``, ``load_imatrix`` in ``tools/quantize/quantize.cpp``):

- GGUF: per tensor ``NAME.in_sum2`` (sums of squared inputs, [experts, columns]) and ``NAME.counts`` ([experts, 1]);
  the importance is their quotient, and 1 for an expert that was never used.
- The older ``.dat``: per tensor a number of calls and that many times the mean.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters.errors import ConversionError
from converters.quantize import Float32

# One for Qwen2-57B-A14B has 70 MB.
MAX_FILE = 1_000_000_000
SUMS, COUNTS = ".in_sum2", ".counts"
DATASETS, CHUNKS, CHUNK_SIZE = "imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size"


class ImportanceMatrix:
    """The importances in one file.

    ``name`` is the file's name as it was given, ``datasets`` the texts it was made from, ``chunks`` their length in
    chunks (0 if unknown).
    """

    def __init__(self, name: str, entries: Mapping[str, Float32], datasets: Sequence[str], chunks: int) -> None:
        """``entries``: tensor name in the GGUF → [matrices, columns], where only experts have several matrices."""
        self.name = name
        self.datasets = tuple(datasets)
        self.chunks = chunks
        self._entries = dict(entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, tensor: str) -> bool:
        return tensor in self._entries

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return sum(entry.nbytes for entry in self._entries.values())

    @property
    def digest(self) -> str:
        """Another one when any importance differs."""
        digest = hashlib.sha256()
        for name, entry in sorted(self._entries.items()):
            digest.update(f"{name} {entry.shape}\n".encode())
            digest.update(entry.tobytes())
        return digest.hexdigest()

    def fits(self, tensor: str, columns: int, matrices: int = 1) -> bool:
        """Whether there are importances for a tensor of that size."""
        return tensor in self._entries and self._entries[tensor].size == matrices * columns

    def vector(self, tensor: str, columns: int, matrices: int = 1, padded: int | None = None) -> Float32 | None:
        """The importance of each column of a tensor.

        Args:
            tensor: its name in the GGUF.
            columns: of the checkpoint, where the importances were measured.
            matrices: how many are stacked in it (experts).
            padded: columns in the GGUF if it gets more; the additional ones hold zeros and matter nothing.

        Returns:
            [matrices, padded or columns], contiguous; None if the file has nothing for this tensor.

        Raises:
            ConversionError: the file's importances are for another number of columns or matrices.
        """
        entry = self._entries.get(tensor)
        if entry is None:
            return None
        # llama.cpp compares only the product, and old files hold all matrices in one row.
        if not self.fits(tensor, columns, matrices):
            raise ConversionError(
                f"{self.name} holds {entry.size} importances for {tensor}, which has {matrices * columns}: "
                "it was made for another model, so make one for this model or leave --imatrix out."
            )
        return widened(entry.reshape(matrices, columns), padded or columns)


def widened(vector: Float32, columns: int) -> Float32:
    """[matrices, columns] with zeros for what padding adds, contiguous."""
    return np.ascontiguousarray(np.pad(vector, ((0, 0), (0, columns - vector.shape[1]))))


def read_imatrix(name: str) -> ImportanceMatrix:
    """Read an importance matrix of either form.

    Raises:
        ConversionError: there is no such file, it is no importance matrix, or it holds values that make no sense.
    """
    path = Path(name)
    try:
        if path.stat().st_size > MAX_FILE:
            raise ConversionError(f"{name} is far larger than an importance matrix can be: give another file.")
        with path.open("rb") as file:
            magic = file.read(4)
        entries, datasets, chunks = _read_gguf(path) if magic == b"GGUF" else _read_legacy(path.read_bytes())
    except OSError as error:
        raise ConversionError(f"Cannot read {name}: {error.strerror or error}; check the name.") from error
    except (ValueError, KeyError, IndexError, TypeError, struct.error, MemoryError) as error:
        raise ConversionError(
            f"{name} is no importance matrix, or a damaged one: give a file that `localqwen imatrix` or llama.cpp's "
            "llama-imatrix made."
        ) from error
    for tensor, entry in entries.items():
        if not np.isfinite(entry).all() or (entry < 0).any():
            raise ConversionError(
                f"{name} holds infinite, undefined or negative importances for {tensor}: make it again."
            )
    return ImportanceMatrix(name, entries, datasets, chunks)


def _read_gguf(path: Path) -> tuple[dict[str, Float32], list[str], int]:
    import gguf

    reader = gguf.GGUFReader(path)
    datasets, chunks = _value(reader, DATASETS), _value(reader, CHUNKS)
    _value(reader, CHUNK_SIZE)
    if not isinstance(datasets, list) or not isinstance(chunks, int):
        raise ValueError("no metadata")
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    if any(tensor.tensor_type != gguf.GGMLQuantizationType.F32 for tensor in tensors.values()) or not tensors:
        raise ValueError("other types")
    entries = {}
    for full_name, tensor in tensors.items():
        if full_name.endswith(SUMS):
            name = full_name.removesuffix(SUMS)
            counts = np.asarray(tensors[name + COUNTS].data, np.float32).reshape(-1, 1)
            sums = np.asarray(tensor.data, np.float32).reshape(len(counts), -1)
            # llama.cpp rounds the counts, half away from zero, and divides in float32.
            counts = np.floor(counts + np.float32(0.5)).astype(np.float32)
            used = counts > 0
            entries[name] = np.where(used, sums / np.where(used, counts, 1), np.float32(1)).astype(np.float32)
        elif not full_name.endswith(COUNTS) or full_name.removesuffix(COUNTS) + SUMS not in tensors:
            raise ValueError("another tensor")
    return entries, [str(one) for one in datasets], chunks


def _value(reader: Any, key: str) -> Any:
    return reader.fields[key].contents()


def _read_legacy(data: bytes) -> tuple[dict[str, Float32], list[str], int]:
    offset = 0

    def integer() -> int:
        nonlocal offset
        (value,) = struct.unpack_from("<i", data, offset)
        offset += 4
        return int(value)

    def take(size: int) -> bytes:
        nonlocal offset
        if size < 0 or offset + size > len(data):
            raise ValueError("cut short")
        offset += size
        return data[offset - size : offset]

    count = integer()
    if count < 1:
        raise ValueError("no entries")
    entries: dict[str, Float32] = {}
    for _ in range(count):
        name = take(integer()).decode()
        calls, values = integer(), integer()
        if values < 1:
            raise ValueError("no values")
        sums = np.frombuffer(take(4 * values), "<f4").astype(np.float32)
        entries[name] = (sums / np.float32(calls) if calls > 0 else sums).reshape(1, -1)
    # The oldest files end here.
    chunks = integer() if offset < len(data) else 0
    dataset = take(integer()).decode(errors="replace") if offset < len(data) else ""
    return entries, [dataset] if dataset else [], chunks
