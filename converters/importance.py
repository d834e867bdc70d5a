"""From an importance matrix to what the kernels get for each tensor.

As in llama.cpp's quantizer, with one difference unless llama.cpp's own bytes are asked for: columns that the text of
an importance matrix never reached are kept instead of becoming zeros.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from converters.errors import ConversionError
from converters.ggml import BLOCKS, GGMLType
from converters.imatrix import ImportanceMatrix, widened
from converters.layout import OutputTensor
from converters.quantize import Float32

# So many neighbouring weights become zeros in ggml's kernels when the importance of all of them is zero. Types that are
# not listed keep them.
GROUPS = {
    GGMLType.Q4_0: 32,
    GGMLType.Q5_0: 32,
    GGMLType.Q4_K: 256,
    GGMLType.Q5_K: 256,
    GGMLType.Q6_K: 16,
}


def floored(vector: Float32, kind: GGMLType) -> tuple[Float32, int]:
    """Give groups of columns without any importance a little of it, and count them.

    ggml would write zeros for their weights, whatever these are: a text that never reached a part of the model would
    cut it off. Within such a group all columns then count alike; others are not touched.

    Args:
        vector: [matrices, columns] as measured, without padding.
        kind: type that the tensor gets.

    Returns:
        The vector, and how many groups were lifted in it.
    """
    group = GROUPS.get(kind)
    if group is None:
        return vector, 0
    matrices, columns = vector.shape
    padding = -columns % group
    groups = np.pad(vector, ((0, 0), (0, padding))).reshape(matrices, -1, group)
    dead = ~groups.any(axis=-1)
    if not dead.any():
        return vector, 0
    positive = vector[vector > 0]
    groups[dead] = positive.min() if positive.size else np.float32(1)
    return np.ascontiguousarray(groups.reshape(matrices, -1)[:, :columns]), int(dead.sum())


def weigh(
    matrix: ImportanceMatrix, tensors: Iterable[tuple[OutputTensor, GGMLType]], *, identical: bool
) -> tuple[dict[str, Float32], tuple[str, ...]]:
    """The importances of all tensors that are quantized, and what a person should know about them.

    Args:
        matrix: the file's.
        tensors: with their types.
        identical: leave groups without any importance as they are, as llama.cpp does.

    Returns:
        Tensor → [matrices, columns]; and sentences.

    Raises:
        ConversionError: the file was made for another model.
    """
    weights: dict[str, Float32] = {}
    missing, dead = [], {}
    for tensor, kind in tensors:
        if BLOCKS[kind].weights == 1:
            continue
        columns = tensor.parts[0].shape[-1]
        if tensor.name == "token_embd.weight" and not matrix.fits(tensor.name, columns):
            continue  # llama.cpp passes over it too: rows are looked up in it, so it has no inputs to measure
        vector = matrix.vector(tensor.name, columns, len(tensor.parts))
        if vector is None:
            missing.append(tensor.name)
            continue
        lifted, count = floored(vector, kind)
        if count:
            dead[tensor.name] = count
        weights[tensor.name] = widened(vector if identical else lifted, tensor.columns)
    if missing and not weights:
        raise ConversionError(
            f"{matrix.name} holds nothing for the tensors of this model: it was made for another one, so make one for "
            "this model or leave --imatrix out."
        )
    return weights, _remarks(matrix, missing, dead, identical=identical)


def _remarks(
    matrix: ImportanceMatrix, missing: Sequence[str], dead: Mapping[str, int], *, identical: bool
) -> tuple[str, ...]:
    notes = []
    # The output matrix is left out by default when such files are made.
    if others := [name for name in missing if name != "output.weight"]:
        more = f" and {len(others) - 1} more tensors" if len(others) > 1 else ""
        notes.append(f"{matrix.name} holds nothing for {others[0]}{more}: quantized without importances.")
    if dead:
        name, count = next(iter(dead.items()))
        more = f" and {len(dead) - 1} more tensors" if len(dead) > 1 else ""
        notes.append(
            f"{matrix.name} gives no importance at all to {count} groups of columns in {name}{more}: "
            + (
                "their weights become zeros, as in llama.cpp."
                if identical
                else "these count alike instead of as zeros."
            )
        )
    return tuple(notes)
