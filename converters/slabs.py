"""The unit of work: some rows of one tensor, read, quantized and written by one thread with its own scratch memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from converters.errors import CheckpointError, ConversionError
from converters.ggml import GGMLType, row_size
from converters.layout import OutputTensor
from converters.quantize import Bytes, Float32, Kernels
from converters.safetensors import SourceTensor
from converters.writer import OutputFile

# Weights per slab: large enough to make Python's part of the work vanish, small enough that a thread's scratch stays
# at about 12 MB.
SLAB_WEIGHTS = 1 << 20

_SAME = {"F32": GGMLType.F32, "F16": GGMLType.F16, "BF16": GGMLType.BF16}


@dataclass(frozen=True, slots=True)
class Slab:
    """Rows ``first`` to ``first + rows`` of ``part``, to be stored as ``kind`` at ``offset`` of the output file."""

    tensor: OutputTensor
    part: SourceTensor
    kind: GGMLType
    first: int
    rows: int
    offset: int

    @property
    def weights(self) -> int:
        """Number of weights."""
        return self.rows * self.tensor.columns

    @property
    def source_bytes(self) -> int:
        """Bytes to read."""
        return self.weights * self.part.item_size


def cut(tensor: OutputTensor, kind: GGMLType, offset: int) -> Iterator[Slab]:
    """Cut a tensor whose data starts at ``offset`` of the file into slabs of whole rows, in file order."""
    columns = tensor.columns
    step = max(1, SLAB_WEIGHTS // columns)
    size = row_size(kind, columns)
    for part in tensor.parts:
        total = part.nbytes // part.item_size // columns
        for first in range(0, total, step):
            rows = min(step, total - first)
            yield Slab(tensor, part, kind, first, rows, offset)
            offset += rows * size


class SourceFiles:
    """Open checkpoint files, read with ``pread``.

    Not memory-mapped: a mapped file that shrinks while it is read kills the process (SIGBUS), and mapped pages count
    as resident memory.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fds: dict[Path, int] = {}

    def read(self, path: Path, offset: int, target: Bytes) -> None:
        """Fill ``target`` with the bytes from ``offset``.

        Raises:
            CheckpointError: the file cannot be read or is too short by now.
        """
        view = target.data
        try:
            with self._lock:
                if path not in self._fds:
                    self._fds[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            while view:
                count = os.preadv(self._fds[path], [view], offset)
                if not count:
                    raise CheckpointError(f"{path} became shorter while it was read: download it again.")
                view = view[count:]
                offset += count
        except OSError as error:
            raise CheckpointError(f"Cannot read {path}: {error.strerror or error}; check the disk.") from error

    def __enter__(self) -> SourceFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for fd in self._fds.values():
            os.close(fd)


class SlabWriter:
    """Turns slabs into bytes of the output file; one instance serves all threads."""

    def __init__(self, source: SourceFiles, output: OutputFile, kernels: Kernels) -> None:
        self._source = source
        self._output = output
        self._kernels = kernels
        self._scratch = threading.local()

    def __call__(self, slab: Slab) -> Slab:
        """Read, check, quantize and write one slab; returns it.

        Raises:
            CheckpointError: the source is cut short or holds NaN or infinity.
            ConversionError: the output cannot be written, or a weight is too large for its type.
        """
        raw = self._buffer("raw", slab.source_bytes)
        begin = slab.part.offset + slab.first * slab.tensor.columns * slab.part.item_size
        self._source.read(slab.part.path, begin, raw)
        values = self._floats(slab, raw)
        _check_finite(slab, values)
        if _SAME[slab.part.dtype] is slab.kind:
            self._output.write_at(raw, slab.offset)
            return slab
        target = self._buffer("target", slab.rows * row_size(slab.kind, slab.tensor.columns))
        try:
            self._kernels.quantize(slab.kind, values, target, slab.tensor.columns)
        except OverflowError as error:
            raise ConversionError(
                f"{slab.part.path} holds values in {slab.part.name!r} that are too large for {slab.kind.name}: "
                "choose --type BF16."
            ) from error
        self._output.write_at(target, slab.offset)
        return slab

    def _floats(self, slab: Slab, raw: Bytes) -> Float32:
        if slab.part.dtype == "F32":
            return raw.view(np.float32)
        values: Float32 = self._buffer("values", slab.weights * 4).view(np.float32)
        if slab.part.dtype == "F16":
            values[:] = raw.view(np.float16)
        else:
            # bfloat16 is the upper half of a float32.
            np.left_shift(raw.view(np.uint16), 16, out=values.view(np.uint32), dtype=np.uint32)
        return values

    def _buffer(self, name: str, nbytes: int) -> Bytes:
        """This thread's buffer of that name, grown when needed."""
        buffer: Bytes | None = getattr(self._scratch, name, None)
        if buffer is None or buffer.nbytes < nbytes:
            buffer = np.empty(nbytes, np.uint8)
            setattr(self._scratch, name, buffer)
        return buffer[:nbytes]


def _check_finite(slab: Slab, values: Float32) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        row, column = divmod(int(np.argmin(finite)), slab.tensor.columns)
        place = f"[{column}]" if len(slab.part.shape) == 1 else f"[{slab.first + row}, {column}]"
        raise CheckpointError(
            f"{slab.part.path} holds {values[row * slab.tensor.columns + column]} in {slab.part.name!r} at {place}: "
            "the checkpoint is damaged or its training failed; download it again."
        )
