"""How llama.cpp divides tensors over cards of which each computes a part of every layer. Pure.

The rules are those of ``llama_meta_device_get_split_state`` in llama.cpp's llama-model.cpp: attention in whole groups
of heads, the feed-forward and the output matrix by rows, all else on every card. What does not divide evenly goes to
the last card of the row, and the row begins with another card for each layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

WHOLE_WARPS = 128  # values that llama.cpp likes to keep together for its kernels' sake


@dataclass(frozen=True, slots=True)
class Slices:
    """Tensors that are divided along an axis of ``length`` values, ``size`` bytes in all.

    ``group`` values belong together (the query heads that share one of K and V), and so does a ``block`` of the
    quantization.
    """

    size: int
    length: int
    group: int = 1
    block: int = 1

    def parts(self, cards: int, rotation: int) -> list[Fraction]:
        """The part of it on each of ``cards`` that are alike, in the layer or matrix number ``rotation``."""
        ends = [self.length * (i + 1) // cards for i in range(cards)]
        granule = self._granule(cards)
        ends = [*(end - end % granule for end in ends[:-1]), self.length]
        found = [Fraction(0)] * cards
        for i, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
            found[(i + rotation) % cards] = Fraction(end - start, self.length)
        return found

    def _granule(self, cards: int) -> int:
        block = self.block
        while block < WHOLE_WARPS and block * cards < self.group:
            block *= 2
        return math.lcm(self.group, block)


@dataclass(frozen=True, slots=True)
class LayerSlices:
    """What is divided of a transformer block; K and V of the cache go with ``attention``."""

    attention: Slices
    feed_forward: Slices
