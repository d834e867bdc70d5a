"""ggml's tensor types and llama.cpp's file types, as far as Qwen2 conversions write them.

The numbers are those of ``enum ggml_type`` (ggml.h) and ``enum llama_ftype`` (llama.h); the tests compare them with
the ``gguf`` package's. They stand here because importing that package costs more than a recipe should.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class GGMLType(IntEnum):
    """How a tensor's values are stored."""

    F32 = 0
    F16 = 1
    Q4_0 = 2
    Q4_1 = 3
    Q5_0 = 6
    Q5_1 = 7
    Q8_0 = 8
    Q4_K = 12
    Q5_K = 13
    Q6_K = 14
    BF16 = 30


class FileType(IntEnum):
    """The mixture that a file as a whole holds: ``general.file_type``."""

    F16 = 1
    Q4_0 = 2
    Q8_0 = 7
    Q4_K_S = 14
    Q4_K_M = 15
    Q5_K_M = 17
    Q6_K = 18
    BF16 = 32


class Block(NamedTuple):
    """``weights`` consecutive weights of a row are stored in ``nbytes`` bytes."""

    weights: int
    nbytes: int


BLOCKS: dict[GGMLType, Block] = {
    GGMLType.F32: Block(1, 4),
    GGMLType.F16: Block(1, 2),
    GGMLType.BF16: Block(1, 2),
    GGMLType.Q4_0: Block(32, 18),
    GGMLType.Q4_1: Block(32, 20),
    GGMLType.Q5_0: Block(32, 22),
    GGMLType.Q5_1: Block(32, 24),
    GGMLType.Q8_0: Block(32, 34),
    GGMLType.Q4_K: Block(256, 144),
    GGMLType.Q5_K: Block(256, 176),
    GGMLType.Q6_K: Block(256, 210),
}


def row_size(kind: GGMLType, columns: int) -> int:
    """Bytes of one row of ``columns`` weights.

    Raises:
        ValueError: ``columns`` is no multiple of the type's block.
    """
    block = BLOCKS[kind]
    if columns % block.weights:
        raise ValueError(f"{columns} columns are no multiple of {kind.name}'s block of {block.weights}")
    return columns // block.weights * block.nbytes
