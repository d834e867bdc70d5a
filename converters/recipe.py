"""Which type each tensor gets: llama.cpp's mixtures, as a pure function of names and shapes.

Follows the rules of ``llama_tensor_get_type`` and ``tensor_type_fallback`` in llama.cpp's ``src/llama-quant.cpp``,
for the architectures qwen2 and qwen2moe. The tests compare it with llama.cpp itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from converters.ggml import BLOCKS, FileType, GGMLType


class Shape(NamedTuple):
    """A tensor's name in the GGUF and its dimensions, rows first (``[out, in]``)."""

    name: str
    dims: tuple[int, ...]


# The type that most tensors of a mixture get.
DEFAULT_TYPES = {
    FileType.F16: GGMLType.F16,
    FileType.BF16: GGMLType.BF16,
    FileType.Q4_0: GGMLType.Q4_0,
    FileType.Q8_0: GGMLType.Q8_0,
    FileType.Q4_K_S: GGMLType.Q4_K,
    FileType.Q4_K_M: GGMLType.Q4_K,
    FileType.Q5_K_M: GGMLType.Q5_K,
    FileType.Q6_K: GGMLType.Q6_K,
}
_FALLBACK = {GGMLType.Q4_K: GGMLType.Q5_0, GGMLType.Q5_K: GGMLType.Q5_1, GGMLType.Q6_K: GGMLType.Q8_0}
_SMALL_AND_MEDIUM = (FileType.Q4_K_S, FileType.Q4_K_M)
_MEDIUM = (FileType.Q4_K_M, FileType.Q5_K_M)
# llama.cpp tells "70B" by the layer count alone, and Qwen2-72B has 80 (load_arch_hparams in src/models/qwen2.cpp).
_LAYERS_OF_70B = 80


def assign(
    tensors: Sequence[Shape], file_type: FileType, layers: int, *, experts: int = 0, importance: bool = False
) -> list[GGMLType]:
    """Give every tensor its type.

    Args:
        tensors: all tensors of the file in the order in which they are written; the order matters, because the rules
            for attn_v and ffn_down count the tensors they have seen.
        file_type: the mixture.
        layers: number of transformer layers (``block_count``).
        experts: number of experts in a layer; 0 for a dense model.
        importance: whether an importance matrix is used.
    """
    tied = all(tensor.name != "output.weight" for tensor in tensors)
    values = sum("attn_v.weight" in tensor.name for tensor in tensors)
    seen_v = seen_down = 0
    types = []
    for tensor in tensors:
        if not quantizable(tensor):
            types.append(GGMLType.F32)
            continue
        kind = DEFAULT_TYPES[file_type]
        if BLOCKS[kind].weights > 1:
            if tensor.name == "output.weight" or (tied and tensor.name == "token_embd.weight"):
                kind = _output(kind, tensor.dims[-1])
            elif "attn_v.weight" in tensor.name:
                kind = _attn_v(kind, file_type, seen_v, values, layers, experts)
                seen_v += 1
            elif "ffn_down" in tensor.name:
                # A layer with experts has two of these tensors; its number then counts, not that of the tensor.
                layer = int(tensor.name.split(".")[1]) if experts > 1 else seen_down
                kind = _ffn_down(kind, file_type, layer, layers, importance=importance)
                seen_down += 1
            elif experts == 8:
                kind = _attention_of_8_experts(kind, file_type, tensor.name)
            kind = _fit(kind, tensor.dims[-1])
        types.append(kind)
    return types


def quantizable(tensor: Shape) -> bool:
    """Whether a tensor is quantized at all: matrices are, norms, biases and expert gates stay float32."""
    name = tensor.name
    return (
        len(tensor.dims) > 1 and name.endswith("weight") and "_norm.weight" not in name and "ffn_gate_inp" not in name
    )


def more_bits(index: int, count: int) -> bool:
    """Whether tensor ``index`` of ``count`` is among those that the medium mixtures keep at six bits.

    The first and the last eighth of the layers, and every third one between.
    """
    return index < count // 8 or index >= 7 * count // 8 or (index - count // 8) % 3 == 2


def _output(kind: GGMLType, columns: int) -> GGMLType:
    if columns % BLOCKS[kind].weights or kind is GGMLType.Q8_0:
        return GGMLType.Q8_0
    return GGMLType.Q6_K


def _attn_v(kind: GGMLType, file_type: FileType, index: int, count: int, layers: int, experts: int) -> GGMLType:
    if experts == 8:
        return GGMLType.Q8_0
    if file_type in _MEDIUM and more_bits(index, count):
        return GGMLType.Q6_K
    if file_type is FileType.Q4_K_S and index < 4:
        return GGMLType.Q5_K
    if layers == _LAYERS_OF_70B and not experts and kind is GGMLType.Q4_K:
        return GGMLType.Q5_K
    return kind


def _ffn_down(kind: GGMLType, file_type: FileType, layer: int, layers: int, *, importance: bool) -> GGMLType:
    if file_type in _MEDIUM and more_bits(layer, layers):
        return GGMLType.Q6_K
    if file_type is FileType.Q4_K_S and layer < layers // 8:
        return GGMLType.Q5_K
    if file_type is FileType.Q4_0 and importance and layer < layers // 8:
        return GGMLType.Q4_1
    return kind


def _attention_of_8_experts(kind: GGMLType, file_type: FileType, name: str) -> GGMLType:
    if "attn_k.weight" in name:
        return GGMLType.Q8_0
    if "attn_output.weight" in name and file_type in _SMALL_AND_MEDIUM:
        return GGMLType.Q5_K
    return kind


def _fit(kind: GGMLType, columns: int) -> GGMLType:
    """A type with smaller blocks where a row does not divide into this one's."""
    if columns % BLOCKS[kind].weights:
        kind = _FALLBACK.get(kind, kind)
    if columns % BLOCKS[kind].weights:
        kind = GGMLType.F16
    return kind
