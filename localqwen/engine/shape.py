"""What a model takes, by formula. Pure: sizes are in bytes and handed in."""

from __future__ import annotations

from dataclasses import dataclass

from localqwen.engine.slices import LayerSlices, Slices
from localqwen.plan import KvType

# Bytes of a block of 32 values in the KV cache: q8_0 and q4_0 add a scale of two bytes to each.
KV_BLOCK_BYTES: dict[KvType, int] = {"f16": 64, "q8_0": 34, "q4_0": 18}
KV_BLOCK = 32
CELLS = 256  # llama.cpp rounds contexts up to this


@dataclass(frozen=True, slots=True)
class Shape:
    """The figures of a model that decide about memory and speed.

    ``layer_bytes`` are the weights of each transformer block, ``layer_reads`` what one token reads of them (of a
    mixture of experts, only the chosen ones); ``output_bytes`` and ``input_bytes`` the two embedding matrices, the
    same one where it is tied. The rest is as in ``config.json``; ``kv_width`` is K's (and V's) width of all KV heads.
    ``slices`` say how each block, and ``output_slices`` how the output matrix, is divided where cards share every
    tensor; without them nothing is known of that.
    """

    layer_bytes: tuple[int, ...]
    layer_reads: tuple[int, ...]
    output_bytes: int
    input_bytes: int
    tied: bool
    hidden: int
    feed_forward: int
    kv_width: int
    slices: tuple[LayerSlices, ...] = ()
    output_slices: Slices | None = None

    @property
    def layers(self) -> int:
        """How many transformer blocks there are."""
        return len(self.layer_bytes)

    @property
    def weights(self) -> int:
        """All weights, each counted once."""
        return sum(self.layer_bytes) + self.input_bytes + (0 if self.tied else self.output_bytes)

    def kv_bytes(self, context: int, kind: KvType = "f16") -> int:
        """K and V of ``context`` tokens in one layer."""
        return kv_bytes(self.kv_width, kind) * rounded(context)

    @property
    def sparse(self) -> bool:
        """Whether a token reads only a part of the weights: a mixture of experts."""
        return self.layer_reads != self.layer_bytes

    def shared(self, cards: int, context: int, kind: KvType = "f16") -> list[tuple[int, int]]:
        """Weights and KV cache on each of ``cards`` that share every tensor."""
        weights, kv = [0.0] * cards, [0.0] * cards
        cache = self.kv_bytes(context, kind)
        for layer, (size, slices) in enumerate(zip(self.layer_bytes, self.slices, strict=True)):
            attention, feed_forward = (part.parts(cards, layer) for part in (slices.attention, slices.feed_forward))
            everywhere = size - slices.attention.size - slices.feed_forward.size
            for at in range(cards):
                parts = attention[at] * slices.attention.size + feed_forward[at] * slices.feed_forward.size
                weights[at] += everywhere + float(parts)
                kv[at] += float(attention[at] * cache)
        divided_output = self.output_slices or Slices(0, 1)
        for at, part in enumerate(divided_output.parts(cards, self.layers)):
            weights[at] += self.output_bytes - divided_output.size + float(part * divided_output.size)
        return [(round(one), round(other)) for one, other in zip(weights, kv, strict=True)]

    def compute_bytes(self, context: int, ubatch: int) -> int:
        """About what one ubatch's activations take on a CPU; :mod:`localqwen.engine.activations` knows the roles."""
        return ubatch * (4 * (3 * self.feed_forward + 4 * self.hidden) + 2 * rounded(context))

    def pool_bytes(self, ubatch: int) -> int:
        """What CUDA's pool grows to besides: the widest activations of an ubatch as q8_1, 36 bytes for each 32 values.

        An H100 gave 4, 8 and 24 MiB for Qwen2-72B and ubatches of 128, 512 and 1024; this says 4, 16 and 32.
        """
        return ubatch * max(self.feed_forward, self.hidden) * 36 // 32


def kv_bytes(width: int, kind: KvType) -> int:
    """K and V of one token in one layer."""
    return 2 * width * KV_BLOCK_BYTES[kind] // KV_BLOCK


def rounded(cells: int) -> int:
    """So many cells as llama.cpp makes of it."""
    return -(-cells // CELLS) * CELLS
