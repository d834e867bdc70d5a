"""The unit of work: some rows of one tensor, read, quantized and written by one thread with its own scratch memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from converters.errors import CheckpointError, ConversionError
from converters.ggml import GGMLType, row_size
from converters.intermediate import SAME, lossless, round_through
from converters.layout import OutputTensor
from converters.quantize import Bytes, Float32, Kernels
from converters.safetensors import SourceTensor
from converters.source import Range, Weights
from converters.writer import OutputFile

# Weights per slab: large enough to make Python's part of the work vanish, small enough that a thread's scratch stays
# at about 16 MB.
SLAB_WEIGHTS = 1 << 20
SCRATCH_BYTES = 4 * 4 * SLAB_WEIGHTS


@dataclass(frozen=True, slots=True)
class Slab:
    """Rows ``first`` to ``first + rows`` of ``part``, to be stored as ``kind`` at ``offset`` of the output file.

    The tensor may have more columns than the part: the rest of each row is zero. ``matrix`` is the part's number in
    the tensor, which is that of the expert.
    """

    tensor: OutputTensor
    part: SourceTensor
    kind: GGMLType
    first: int
    rows: int
    offset: int
    matrix: int = 0

    @property
    def columns(self) -> int:
        """Weights in a row of the source."""
        return self.part.shape[-1]

    @property
    def weights(self) -> int:
        """Number of weights in the source."""
        return self.rows * self.columns

    @property
    def source_bytes(self) -> int:
        """Bytes to read."""
        return self.weights * self.part.item_size

    @property
    def source(self) -> Range:
        """Where they lie."""
        begin = self.part.offset + self.first * self.columns * self.part.item_size
        return Range(self.part.path.name, begin, self.source_bytes)


def cut(tensor: OutputTensor, kind: GGMLType, offset: int) -> Iterator[Slab]:
    """Cut a tensor whose data starts at ``offset`` of the file into slabs of whole rows, in file order.

    Rows that no part covers are not written: a new file is zero there, and zero bytes are zeros in every type.
    """
    step = max(1, SLAB_WEIGHTS // tensor.columns)
    size = row_size(kind, tensor.columns)
    for matrix, part in enumerate(tensor.parts):
        total = part.nbytes // part.item_size // part.shape[-1]
        for first in range(0, total, step):
            rows = min(step, total - first)
            yield Slab(tensor, part, kind, first, rows, offset, matrix)
            offset += rows * size


class SlabWriter:
    """Turns slabs into bytes of the output file; one instance serves all threads."""

    def __init__(
        self,
        source: Weights,
        output: OutputFile,
        kernels: Kernels,
        through: GGMLType,
        importance: Mapping[str, Float32] | None = None,
    ) -> None:
        """Set up.

        Args:
            source: where slabs are read.
            output: where they are written.
            kernels: quantize.
            through: the 16-bit format that matrices go through (``converters.intermediate``).
            importance: by tensor, [matrices, columns]; tensors that it lacks are quantized without.
        """
        self.source = source
        self._output = output
        self._kernels = kernels
        self._through = through
        self._importance = importance or {}
        self._scratch = threading.local()

    def __call__(self, slab: Slab) -> Slab:
        """Read, check, quantize and write one slab; returns it.

        Raises:
            CheckpointError: the source is cut short or holds NaN or infinity.
            ConversionError: the output cannot be written, or a weight is too large for its type.
        """
        raw = self._buffer("raw", slab.source_bytes)
        self.source.read(slab.source.name, slab.source.offset, raw)
        values = self._floats(slab, raw)
        _check_finite(slab, values)
        same = SAME[slab.part.dtype] is slab.kind and slab.kind in (GGMLType.F32, self._through)
        if same and slab.columns == slab.tensor.columns:
            self._output.write_at(raw, slab.offset)
            return slab
        if slab.kind is not GGMLType.F32 and not lossless(slab.part.dtype, self._through):
            round_through(values, self._through, self._buffer("half", slab.weights * 2))
            if not np.isfinite(values).all():
                raise self._too_large(slab, self._through)
        target = self._buffer("target", slab.rows * row_size(slab.kind, slab.tensor.columns))
        importance = self._importance.get(slab.tensor.name)
        try:
            self._kernels.quantize(
                slab.kind,
                self._widened(slab, values),
                target,
                slab.tensor.columns,
                None if importance is None else importance[slab.matrix],
            )
        except OverflowError as error:
            raise self._too_large(slab, slab.kind) from error
        self._output.write_at(target, slab.offset)
        return slab

    def _too_large(self, slab: Slab, kind: GGMLType) -> ConversionError:
        advice = "store the checkpoint as bfloat16 first" if kind is self._through else "choose --type BF16"
        return ConversionError(
            f"{slab.part.path} holds values in {slab.part.name!r} that are too large for {kind.name}: {advice}."
        )

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

    def _widened(self, slab: Slab, values: Float32) -> Float32:
        """The rows with zeros up to the tensor's columns."""
        columns = slab.tensor.columns
        if slab.columns == columns:
            return values
        wide: Float32 = self._buffer("wide", slab.rows * columns * 4).view(np.float32).reshape(slab.rows, columns)
        wide[:, : slab.columns] = values.reshape(slab.rows, slab.columns)
        wide[:, slab.columns :] = 0
        return wide.reshape(-1)

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
        row, column = divmod(int(np.argmin(finite)), slab.columns)
        place = f"[{column}]" if len(slab.part.shape) == 1 else f"[{slab.first + row}, {column}]"
        raise CheckpointError(
            f"{slab.part.path} holds {values[row * slab.columns + column]} in {slab.part.name!r} at {place}: "
            "the checkpoint is damaged or its training failed; download it again."
        )
