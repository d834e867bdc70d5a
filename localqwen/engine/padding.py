"""What a file would be with a feed-forward width that K-quants divide."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from localqwen.engine import native
from localqwen.engine.gguf_file import opened, parts
from localqwen.engine.shape import Shape

BLOCK = 256
_TENSOR = re.compile(r"blk\.(\d+)\.ffn_(gate|up|down)\.weight$")
# What llama.cpp takes for rows that K-quants do not divide, and the bits a weight takes as the one and the other.
FALLBACKS = {"Q5_0": 4.5 / 5.5, "Q5_1": 5.5 / 6.0, "Q8_0": 6.5625 / 8.5}


class Matrix(NamedTuple):
    """A tensor of a file."""

    name: str
    type: str
    nbytes: int


def matrices(path: Path) -> list[Matrix]:
    """Every tensor of a model, of all its files where it is split. Raises :class:`InvalidModelError`."""
    name = native.LIBLLAMA.ggml_type_name
    name.argtypes, name.restype = [ctypes.c_int], ctypes.c_char_p
    found = []
    for part in parts(path):
        with opened(part) as reader:
            found += [Matrix(one.name, name(one.kind).decode().upper(), one.nbytes) for one in reader.tensors()]
    return found


def padded_shape(shape: Shape, tensors: Iterable[Matrix]) -> Shape | None:
    """The shape of the same model padded, or ``None`` where that saves nothing. Pure.

    ffn_down's rows get a few columns, and a K-quant for the type that had to stand in for one; ffn_gate and ffn_up get
    as many rows.
    """
    if shape.feed_forward % BLOCK == 0:
        return None
    width = -(-shape.feed_forward // BLOCK) * BLOCK
    wider = width / shape.feed_forward
    found = [(int(match[1]), match[2], tensor) for tensor in tensors if (match := _TENSOR.match(tensor.name))]
    k_quants = {layer for layer, part, tensor in found if part != "down" and tensor.type.endswith("_K")}
    more = [0] * shape.layers
    for layer, part, tensor in found:
        if layer not in k_quants or layer >= shape.layers:
            continue
        smaller = FALLBACKS.get(tensor.type, 1.0) if part == "down" else 1.0
        more[layer] += round(tensor.nbytes * (wider * smaller - 1))
    if sum(more) >= 0:
        return None
    layer_bytes = tuple(size + change for size, change in zip(shape.layer_bytes, more, strict=True))
    layer_reads = tuple(size + change for size, change in zip(shape.layer_reads, more, strict=True))
    return replace(shape, layer_bytes=layer_bytes, layer_reads=layer_reads, feed_forward=width)
