"""The 16-bit format that llama.cpp's converter writes before its quantizer reads it.

``convert_hf_to_gguf.py`` (``--outtype auto``) stores all matrices in the format of the first one that is bf16 or f16,
and a checkpoint of float32 in f16; the quantizer sees only what came through that. For bf16 and f16 checkpoints
nothing is lost, for float32 and mixed ones a little is, and so it is here: a few of the last bits that a quantizer
drops anyway, for a file that is the same byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from converters.ggml import GGMLType
from converters.quantize import Bytes, Float32
from converters.safetensors import SourceTensor

SAME = {"F32": GGMLType.F32, "F16": GGMLType.F16, "BF16": GGMLType.BF16}


def intermediate(tensors: Iterable[SourceTensor]) -> GGMLType:
    """F16 or BF16: what a checkpoint with these tensors goes through.

    The rule of ``ModelBase.__init__`` in ``conversion/base.py``, for files and tensors in the order of their names.
    """
    for tensor in sorted(tensors, key=lambda tensor: (tensor.path.name, tensor.name)):
        if len(tensor.shape) > 1 and tensor.dtype in ("F16", "BF16"):
            return SAME[tensor.dtype]
    return GGMLType.F16


def lossless(dtype: str, through: GGMLType) -> bool:
    """Whether values of that source type survive."""
    return SAME[dtype] is through


def round_through(values: Float32, through: GGMLType, scratch: Bytes) -> None:
    """Round finite float32 in place to what F16 or BF16 can hold, to nearest even; too large ones become infinite.

    ``scratch`` has two bytes per value.
    """
    if through is GGMLType.F16:
        half = scratch.view(np.float16)
        with np.errstate(over="ignore"):
            half[:] = values
        values[:] = half
    else:
        bits = values.view(np.uint32)
        odd = scratch.view(np.uint16)
        np.right_shift(bits, 16, out=odd, casting="unsafe")
        odd &= 1
        # A finite float32 plus half a step cannot overflow the unsigned word.
        bits += np.uint32(0x7FFF)
        bits += odd
        bits &= np.uint32(0xFFFF0000)
