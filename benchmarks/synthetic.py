"""Qwen2 GGUFs of true shape with random weights: memory and speed are real, text is not."""

from __future__ import annotations

import time
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType as Type

from tests.fixtures.hollow import Size, aligned, tensors, write_header

POOL_BLOCKS = 200_000
# Where a block's float16 scales lie, and how large they may be so that nothing overflows.
SCALES: dict[Type, tuple[tuple[int, float], ...]] = {
    Type.Q4_K: ((0, 1 / 32), (2, 1 / 8)),
    Type.Q5_K: ((0, 1 / 32), (2, 1 / 8)),
    Type.Q6_K: ((208, 1 / 64),),
    Type.Q8_0: ((0, 1 / 4),),
    Type.Q5_0: ((0, 1.0),),
}


def write_synthetic(path: Path, size: Size) -> float:
    """Write a file; return the seconds it took. Parts of one pool of blocks repeat: 44 GB take half a minute."""
    started = time.perf_counter()
    rng = np.random.default_rng(0)
    pools: dict[Type, npt.NDArray[np.uint8]] = {}
    start = write_header(path, size)
    with path.open("r+b") as file:
        file.seek(start)
        for tensor in tensors(size):
            if tensor.kind not in pools:
                pools[tensor.kind] = _pool(rng, tensor.kind)
            pool, left = pools[tensor.kind], tensor.nbytes
            offset = int(rng.integers(0, 1000)) * gguf.GGML_QUANT_SIZES[tensor.kind][1]
            while left:
                part = pool[offset : offset + left]
                part.tofile(file)
                left, offset = left - part.size, 0
            file.write(bytes(aligned(tensor.nbytes) - tensor.nbytes))
    return time.perf_counter() - started


def _pool(rng: np.random.Generator, kind: Type) -> npt.NDArray[np.uint8]:
    if kind == Type.F32:
        return np.ones(POOL_BLOCKS, np.float32).view(np.uint8)
    blocks = rng.integers(0, 256, (POOL_BLOCKS, gguf.GGML_QUANT_SIZES[kind][1]), np.uint8)
    scale = rng.random(POOL_BLOCKS) * 1e-3 + 1e-4
    for at, factor in SCALES[kind]:
        blocks[:, at : at + 2] = (scale * factor).astype(np.float16).view(np.uint8).reshape(-1, 2)
    return blocks.reshape(-1)
