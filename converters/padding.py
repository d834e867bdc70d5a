"""What becomes of a feed-forward width that K-quants cannot divide. Pure.

K-quants store 256 weights of a row in one block. Qwen2-72B's feed-forward width is 29568 = 115.5 × 256, so llama.cpp
stores its ffn_down, a quarter of all weights, in older types of 5.5 and 8.5 bits. Padding the width with zeros to a
multiple of 256 is exact: a zero row of ffn_gate and ffn_up gives silu(0) · 0 = 0, which meets a zero column of
ffn_down. Any llama.cpp loads the result; it is 7 % smaller, and less exact than the 8.5 bits were.

Where the bytes that padding saves do most good is measured in ``benchmarks/results/padding.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum

from converters.errors import ConversionError
from converters.ggml import BLOCKS, GGMLType
from converters.layout import OutputTensor

BLOCK = BLOCKS[GGMLType.Q4_K].weights
K_QUANTS = (GGMLType.Q4_K, GGMLType.Q5_K, GGMLType.Q6_K)


class FeedForward(Enum):
    """``--ffn``: what to do about a width that is no multiple of 256."""

    AUTO = "auto"
    IDENTICAL = "identical"  # llama.cpp's fallback types, and so its bytes
    PADDED = "padded"  # the mixture that all other widths get
    PADDED_PLUS = "padded+"  # with five bits instead of four in the smaller half of ffn_down
    PADDED_KV = "padded-kv"  # with attn_k in Q6_K and attn_v in Q8_0


def parse_feed_forward(name: str) -> FeedForward:
    """The mode called ``name``.

    Raises:
        ConversionError: there is none.
    """
    try:
        return FeedForward(name)
    except ValueError:
        names = ", ".join(mode.value for mode in FeedForward)
        raise ConversionError(f"There is no feed-forward mode {name!r}: choose one of {names}.") from None


def applies(width: int, default: GGMLType) -> bool:
    """Whether there is anything to decide for a feed-forward of ``width`` and a mixture of mostly ``default``."""
    return width % BLOCK != 0 and default in K_QUANTS


def reason(asked: FeedForward, taken: FeedForward, width: int) -> str:
    """The sentence that says what was done about ``width`` and why."""
    if taken is FeedForward.IDENTICAL:
        why = "as asked for" if asked is taken else f"because padding it to {padded(width)} would make the file larger"
        return (
            f"The feed-forward width {width} is no multiple of {BLOCK}, and ffn_down gets llama.cpp's larger fallback "
            f"types, {why} (--ffn identical)."
        )
    return (
        f"The feed-forward width {width} is padded with zeros to {padded(width)} (--ffn {taken.value}): K-quants "
        f"need multiples of {BLOCK}; the model computes the same, and --ffn identical would give llama.cpp's bytes."
    )


def padded(width: int) -> int:
    """The next multiple of a K-quant's block."""
    return -(-width // BLOCK) * BLOCK


def pad(tensors: Sequence[OutputTensor], width: int) -> list[OutputTensor]:
    """Widen the feed-forward from ``width`` to the next multiple: more rows in gate and up, more columns in down."""
    wide = padded(width)
    output = []
    for tensor in tensors:
        if ".ffn_gate." in tensor.name or ".ffn_up." in tensor.name:
            output.append(replace(tensor, dims=(wide, tensor.dims[1])))
        elif ".ffn_down." in tensor.name:
            output.append(replace(tensor, dims=(tensor.dims[0], wide)))
        else:
            output.append(tensor)
    return output


def spend(mode: FeedForward, tensors: Sequence[OutputTensor], kinds: Sequence[GGMLType]) -> list[GGMLType]:
    """Give part of the saved bytes back, where ``mode`` says so."""
    return [_spent(mode, tensor.name, kind) for tensor, kind in zip(tensors, kinds, strict=True)]


def _spent(mode: FeedForward, name: str, kind: GGMLType) -> GGMLType:
    if mode is FeedForward.PADDED_PLUS and ".ffn_down." in name and kind is GGMLType.Q4_K:
        return GGMLType.Q5_K
    if mode is FeedForward.PADDED_KV and kind in K_QUANTS:
        if name.endswith(".attn_v.weight"):
            return GGMLType.Q8_0
        if name.endswith(".attn_k.weight"):
            return GGMLType.Q6_K
    return kind
