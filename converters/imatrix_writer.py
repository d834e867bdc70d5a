"""Writes an importance matrix as llama-imatrix does (``save_imatrix`` in llama.cpp's ``tools/imatrix/imatrix.cpp``)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from converters.errors import ConversionError
from converters.ggml import GGMLType
from converters.gguf_format import ALIGNMENT, Metadata, TensorInfo, align, encode_header
from converters.writer import check_target

Sums = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]


def write_imatrix(
    path: Path, sums: Mapping[str, Sums], datasets: Sequence[str], chunks: int, chunk_size: int, *, overwrite: bool
) -> None:
    """Write sums of squared activations as a GGUF that ``llama-quantize --imatrix`` reads; complete or not at all.

    Args:
        path: the GGUF.
        sums: by the weight tensor's name, float32 ``[matrices, columns]`` and how many rows were added
            (``[matrices]``, or one number for all).
        datasets: names of the texts, as they shall be told to others.
        chunks: how many chunks were added.
        chunk_size: of so many tokens each.
        overwrite: replace what is at ``path``.

    Raises:
        ConversionError: the file cannot be written.
    """
    check_target(path, overwrite=overwrite)
    metadata = Metadata()
    metadata.string("general.type", "imatrix")
    metadata.strings("imatrix.datasets", datasets)
    metadata.u32("imatrix.chunk_count", chunks)
    metadata.u32("imatrix.chunk_size", chunk_size)
    infos: list[TensorInfo] = []
    arrays: list[npt.NDArray[np.float32]] = []
    offset = 0
    for name in sorted(sums, key=str.encode):
        values, counts = sums[name]
        # llama-imatrix stores one row of values for each count.
        shaped = values.reshape(len(counts), -1)
        for suffix, array in (("in_sum2", shaped), ("counts", counts.astype(np.float32)[:, None])):
            # ggml writes no trailing dimensions of one.
            dims = array.shape if array.shape[0] > 1 else array.shape[1:]
            infos.append(TensorInfo(f"{name}.{suffix}", dims, GGMLType.F32, offset))
            arrays.append(np.ascontiguousarray(array, "<f4"))
            offset += align(array.nbytes)
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(encode_header(metadata, infos))
            for array in arrays:
                file.write(array.data)
                file.write(bytes(-array.nbytes % ALIGNMENT))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise ConversionError(
            f"Cannot write {path}: {error.strerror or error}; free some space or choose another place with -o."
        ) from error
    finally:
        part.unlink(missing_ok=True)
