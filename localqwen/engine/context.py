"""A llama.cpp context: the KV cache of one sequence, and decoding into it.

Only one thread may use a context; :meth:`Context.abort` alone may be called from any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import llama_cpp.llama_cpp as llama

from localqwen.engine import native
from localqwen.engine.model import Model
from localqwen.engine.plan import UBATCH
from localqwen.engine.rope import Rope
from localqwen.errors import LocalqwenError, OutOfMemoryError

ABORTED = 2
NO_ROOM = 1


@dataclass(frozen=True, slots=True)
class ContextOptions:
    """``size`` in tokens, CPU ``threads`` for prefill and decode, and the position scaling."""

    size: int
    threads: int
    rope: Rope


class DecodeError(LocalqwenError):
    """llama.cpp could not compute."""


class DecodeAbortedError(DecodeError):
    """:meth:`Context.abort` stopped a decode."""


class Context:
    """Decodes tokens and remembers which are in the KV cache, in order: ``tokens[i]`` stands at position i."""

    def __init__(self, model: Model, options: ContextOptions) -> None:
        """Allocate the KV cache. Raises :class:`OutOfMemoryError` when there is no room for it."""
        native.forget_errors()
        self.options = options
        self.tokens: list[int] = []
        self._abort = native.AbortFlag()
        self.handle = llama.llama_init_from_model(model.handle, _parameters(options))
        if not self.handle:
            reasons = native.recent_errors()
            raise OutOfMemoryError(
                f"There is not enough memory for a context of {options.size} tokens with {model.path.name}"
                f"{f' ({reasons[0]})' if reasons else ''}: use a smaller --ctx."
            )
        llama.llama_set_abort_callback(self.handle, self._abort.callback, self._abort.data)
        self._memory = llama.llama_get_memory(self.handle)
        self._batch = llama.llama_batch_init(UBATCH, 0, 1)

    def close(self) -> None:
        """Free the KV cache."""
        if self.handle:
            llama.llama_batch_free(self._batch)
            llama.llama_free(self.handle)
            self.handle = None

    def abort(self) -> None:
        """Stop a running :meth:`decode` (on the CPU within milliseconds) and refuse more until :meth:`resume`."""
        self._abort.set()

    def resume(self) -> None:
        """Allow decoding again."""
        self._abort.clear()

    def decode(self, tokens: Sequence[int], *, logits: bool) -> None:
        """Compute up to ``UBATCH`` tokens after those in the cache; ``logits`` of the last are kept for sampling.

        Raises :class:`DecodeAbortedError` or :class:`DecodeError`; :attr:`tokens` is then what the cache really holds.
        """
        assert 0 < len(tokens) <= UBATCH, "llama.cpp ends the process on a larger batch"
        assert len(self.tokens) + len(tokens) <= self.options.size
        batch, start = self._batch, len(self.tokens)
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i] = token
            batch.pos[i] = start + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = 0
        batch.logits[len(tokens) - 1] = logits
        native.forget_errors()
        status = llama.llama_decode(self.handle, batch)
        self.tokens += tokens
        if status == 0:
            return
        # Part of the batch may be in the cache, or none of it: llama.cpp's own count is the truth.
        del self.tokens[llama.llama_memory_seq_pos_max(self._memory, 0) + 1 :]
        if status == ABORTED:
            raise DecodeAbortedError("The answer was stopped.")
        reasons = "; ".join(native.recent_errors()) or f"llama_decode returned {status}"
        if status == NO_ROOM:
            raise DecodeError(f"The KV cache has no room left ({reasons}): use a larger --ctx.")
        raise DecodeError(f"llama.cpp could not compute ({reasons}): use a smaller --ctx or fewer --gpu-layers.")

    def truncate(self, length: int) -> None:
        """Forget all but the first ``length`` tokens of the cache."""
        if length >= len(self.tokens):
            return
        if not llama.llama_memory_seq_rm(self._memory, 0, length, -1):
            # Recurrent models cannot forget a part; everything always works.
            llama.llama_memory_seq_rm(self._memory, 0, -1, -1)
            length = 0
        del self.tokens[length:]

    def keep_common_prefix(self, tokens: Sequence[int]) -> int:
        """Forget what differs from ``tokens``; return how many tokens of it are in the cache.

        At least the last token of ``tokens`` is left to decode, because its logits are wanted.
        """
        self.truncate(common_prefix(self.tokens, tokens[:-1]))
        return len(self.tokens)


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two sequences have in common from the start."""
    shorter = min(len(first), len(second))
    if first[:shorter] == second[:shorter]:
        return shorter
    return next(i for i in range(shorter) if first[i] != second[i])


def _parameters(options: ContextOptions) -> object:
    params = llama.llama_context_default_params()
    params.n_ctx = options.size
    params.n_batch = params.n_ubatch = UBATCH
    # One row of logits instead of one per token of the batch: 300 MB less at a vocabulary of 152064.
    params.n_outputs_max = 1
    params.n_threads = params.n_threads_batch = options.threads
    params.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_AUTO  # off only where a backend cannot
    params.no_perf = True
    if not options.rope.from_file:
        # Everything is passed, because the file's keys (or a context made earlier) would fill in what is not.
        yarn = options.rope.factor > 1
        params.rope_scaling_type = llama.LLAMA_ROPE_SCALING_TYPE_YARN if yarn else llama.LLAMA_ROPE_SCALING_TYPE_NONE
        params.rope_freq_scale = 1 / options.rope.factor
        params.yarn_orig_ctx = options.rope.original
    return params
