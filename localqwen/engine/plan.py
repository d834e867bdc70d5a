"""What a model needs in memory, and the context that fits. Pure: the figures are handed in."""

from __future__ import annotations

from dataclasses import dataclass

from localqwen.errors import OutOfMemoryError

UBATCH = 512  # tokens that llama.cpp computes at once; also how far apart prefill looks for a cancellation
KV_BYTES = 2  # f16
MIN_CONTEXT, MAX_DEFAULT_CONTEXT = 8192, 32768
# Python, the server, llama.cpp's own tables, and some air so that the rest of the machine is not squeezed.
MARGIN = 256 << 20


@dataclass(frozen=True, slots=True)
class Shape:
    """The figures of a model that decide about memory; ``weights`` are bytes, the rest is as in ``config.json``."""

    weights: int
    layers: int
    hidden: int
    feed_forward: int
    kv_width: int

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of K and V of one token in all layers."""
        return 2 * self.layers * self.kv_width * KV_BYTES

    def compute_bytes(self, context: int) -> int:
        """About what one ubatch's activations take, with flash attention and logits for one token only.

        Three vectors of the feed-forward's width and four of the model's per token in f32, and the attention mask in
        f16. llama.cpp allocates 269 MiB for Qwen2-72B at 32768 tokens, and this says 269.
        """
        return UBATCH * (4 * (3 * self.feed_forward + 4 * self.hidden) + 2 * context)

    def cpu_share(self, gpu_layers: int) -> float:
        """The part of the weights and of the KV cache that stays in RAM; llama.cpp counts the output as a layer."""
        return 1 - min(max(gpu_layers, 0), self.layers + 1) / (self.layers + 1)


def memory_needed(shape: Shape, context: int, gpu_layers: int) -> int:
    """Bytes of RAM for weights, KV cache, activations and the program itself."""
    resident = shape.weights + shape.kv_bytes_per_token * context
    return int(resident * shape.cpu_share(gpu_layers)) + shape.compute_bytes(context) + MARGIN


def default_context(shape: Shape, native: int, available: int, gpu_layers: int) -> int:
    """The context in tokens when none is asked for.

    The native window up to 32768 tokens, halved until its KV cache takes at most a quarter of the memory that the
    weights leave, but not below 8192 (or the native window if that is shorter). With layers on a GPU, whose memory
    is scarcer than RAM, 8192.
    """
    smallest = min(native, MIN_CONTEXT)
    if gpu_layers > 0:
        return smallest
    context = min(native, MAX_DEFAULT_CONTEXT)
    spare = max(0, available - shape.weights - MARGIN)
    while context > smallest and context * shape.kv_bytes_per_token > spare // 4:
        context //= 2
    return max(context, smallest)


def check_memory(name: str, needed: int, available: int) -> None:
    """Raise :class:`OutOfMemoryError` with both figures when ``needed`` bytes are not there."""
    if needed > available:
        raise OutOfMemoryError(
            f"{name} needs {needed / 1e9:.1f} GB of memory and {available / 1e9:.1f} GB are available: close other "
            "programs, use a smaller --ctx or a smaller model, or put layers on a GPU with --gpu-layers."
        )
