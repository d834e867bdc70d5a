"""A llama.cpp context: one KV cache that several sequences share, and decoding into it.

Only one thread may use a context; :meth:`Context.abort` alone may be called from any.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import llama_cpp.llama_cpp as llama

from localqwen.engine import native
from localqwen.engine.model import Model
from localqwen.engine.rope import Rope
from localqwen.errors import LocalqwenError, OutOfMemoryError
from localqwen.plan import KvType

NO_ROOM, ABORTED, NOT_ALLOCATED = 1, 2, -2
# Conversations that a context can tell apart, and rows of logits that one decode may ask for: llama.cpp wants at least
# as many of these as of those. At a vocabulary of 152064, a row is 0.6 MB.
SEQUENCES = OUTPUTS = 16
WARM_UP = 64  # tokens: enough for the kernels that prompts are computed by
UBATCH = 512  # tokens that llama.cpp computes at once where nothing else is planned
_GGML_TYPES: dict[KvType, int] = {"f16": 1, "q8_0": 8, "q4_0": 2}


@dataclass(frozen=True, slots=True)
class ContextOptions:
    """``size`` in tokens (KV cells), CPU ``threads`` for prefill and decode, and the position scaling.

    ``kv_type`` is what K and V are stored as, ``ubatch`` how many tokens are computed at once.
    """

    size: int
    threads: int
    rope: Rope
    kv_type: KvType = "f16"
    ubatch: int = UBATCH


class DecodeError(LocalqwenError):
    """llama.cpp could not compute."""


class DecodeAbortedError(DecodeError):
    """:meth:`Context.abort` stopped a decode. Nothing of its batch is in the cache."""


class NoRoomError(DecodeError):
    """The KV cache has too few free cells for a batch. Nothing has changed."""


class NotAllocatedError(DecodeError):
    """There was no memory for what a batch takes."""


class CacheLostError(DecodeError):
    """A KV cache could be neither made larger nor restored, and is gone."""


class Batch:
    """Up to ``most`` tokens of any sequences, to be decoded together; no more than a ubatch."""

    def __init__(self, most: int = UBATCH) -> None:
        self.handle = llama.llama_batch_init(most, 0, 1)
        self.most = most
        self.outputs = 0
        # Attribute access through the structure would make a new pointer object each time.
        self._token, self._pos, self._count = self.handle.token, self.handle.pos, self.handle.n_seq_id
        self._logits = self.handle.logits
        self._sequence = [self.handle.seq_id[i] for i in range(most)]
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def clear(self) -> None:
        """Start anew."""
        self._size = self.outputs = 0

    def add(self, sequence: int, tokens: Sequence[int], position: int, outputs: int) -> int:
        """Append ``tokens`` of a sequence from ``position`` on; return the row of the first.

        Logits are wanted of the last ``outputs`` of them.
        """
        row, count = self._size, len(tokens)
        assert row + count <= self.most, "llama.cpp ends the process on a larger batch"
        self.outputs += outputs
        assert self.outputs <= OUTPUTS
        for i, token in enumerate(tokens, row):
            self._token[i] = token
            self._pos[i] = position + i - row
            self._count[i] = 1
            self._sequence[i][0] = sequence
            self._logits[i] = i >= row + count - outputs
        self._size = row + count
        return row

    def close(self) -> None:
        """Free the arrays."""
        llama.llama_batch_free(self.handle)


class Context:
    """A KV cache of ``options.size`` cells under one position scaling."""

    def __init__(self, model: Model, options: ContextOptions) -> None:
        """Allocate the KV cache.

        Raises :class:`OutOfMemoryError` when there is no room for it, :class:`LocalqwenError` when llama.cpp refuses
        the options.
        """
        self.model = model
        self.options = options
        self._abort = native.AbortFlag()
        self.handle: ctypes.c_void_p | None = self._allocate(options)

    def close(self) -> None:
        """Free the KV cache."""
        if self.handle:
            llama.llama_free(self.handle)
            self.handle = None

    def abort(self) -> None:
        """Stop a running :meth:`decode` (on the CPU within milliseconds) and refuse more until :meth:`resume`."""
        self._abort.set()

    def resume(self) -> None:
        """Allow decoding again."""
        self._abort.clear()

    def decode(self, batch: Batch) -> None:
        """Compute a batch. The logits of its outputs stay until the next one.

        Raises :class:`NoRoomError`, :class:`DecodeAbortedError`, :class:`NotAllocatedError` or :class:`DecodeError`.
        """
        batch.handle.n_tokens = len(batch)
        native.forget_errors()
        status = llama.llama_decode(self.handle, batch.handle)
        if status == 0:
            return
        if status == NO_ROOM:
            raise NoRoomError(f"The KV cache of {self.options.size} tokens has no room left: use a larger --ctx.")
        if status == ABORTED:
            raise DecodeAbortedError("The answer was stopped.")
        reasons = "; ".join(native.recent_errors()) or f"llama_decode returned {status}"
        kind = NotAllocatedError if status == NOT_ALLOCATED or native.is_about_memory(reasons) else DecodeError
        raise kind(f"llama.cpp could not compute ({reasons}): use a smaller --ctx or fewer --gpu-layers.")

    def warm_up(self) -> None:
        """Compute a few tokens and forget them: drivers take memory, and time, at the first ones.

        First a prompt, then single tokens: CUDA makes a graph of the kernels when the same ones come again, of those
        for a prompt too where a card computes it for layers in RAM. Raises :class:`OutOfMemoryError` where there is
        too little for them, and as :meth:`decode`.
        """
        batch = Batch(self.options.ubatch)
        prompt = min(WARM_UP, self.options.ubatch)
        try:
            for count in (prompt, prompt, prompt, 1, 1, 1, 1):
                if count > 1:
                    self.truncate(0, 0)
                batch.clear()
                batch.add(0, [0] * count, self.length(0), 1)
                self.decode(batch)
            self.truncate(0, 0)
        except NotAllocatedError as error:
            raise OutOfMemoryError(str(error)) from error
        finally:
            batch.close()

    def length(self, sequence: int) -> int:
        """How many tokens of a sequence are in the cache, by llama.cpp's own count."""
        return int(llama.llama_memory_seq_pos_max(self._memory, sequence)) + 1

    def truncate(self, sequence: int, length: int) -> None:
        """Forget all but the first ``length`` tokens of a sequence."""
        # Only recurrent models refuse to forget a part, and Qwen2 is none.
        assert llama.llama_memory_seq_rm(self._memory, sequence, length, -1)

    def copy(self, source: int, target: int, length: int) -> None:
        """Let an empty sequence begin with the first ``length`` tokens of another; the cells are shared."""
        llama.llama_memory_seq_cp(self._memory, source, target, 0, length)

    def grow(self, size: int) -> None:
        """Make the cache larger; what is in it stays, bit for bit.

        Raises :class:`OutOfMemoryError`, after which everything is as before, or :class:`CacheLostError`, after which
        only :meth:`close` may be called.
        """
        saved = self._state()
        self.close()
        try:
            self.handle = self._allocate(replace(self.options, size=size))
        except OutOfMemoryError:
            try:
                self.handle = self._allocate(self.options)
            except OutOfMemoryError as error:
                raise CacheLostError(f"The memory of the conversations was lost: {error}") from error
            self._restore(saved)
            raise
        self.options = replace(self.options, size=size)
        self._restore(saved)

    def sequence_state(self, sequence: int) -> bytearray:
        """A copy of a sequence's cells."""
        state = bytearray(llama.llama_state_seq_get_size(self.handle, sequence))
        buffer = (ctypes.c_uint8 * len(state)).from_buffer(state)
        assert llama.llama_state_seq_get_data(self.handle, buffer, len(state), sequence) == len(state)
        return state

    def fill(self, sequence: int, state: bytearray) -> bool:
        """Fill an empty sequence from :meth:`sequence_state`; return whether there was room for it."""
        buffer = (ctypes.c_uint8 * len(state)).from_buffer(state)
        return bool(llama.llama_state_seq_set_data(self.handle, buffer, len(state), sequence) == len(state))

    def save(self, sequence: int, path: Path, header: Sequence[int]) -> None:
        """Write a sequence to a file that begins with ``header``. Raises :class:`OSError` if that fails."""
        native.forget_errors()
        array = (llama.llama_token * len(header))(*header)
        if not llama.llama_state_seq_save_file(self.handle, os.fsencode(path), sequence, array, len(header)):
            raise OSError(f"{path}: {'; '.join(native.recent_errors())}")

    def load(self, sequence: int, path: Path, header_length: int) -> bool:
        """Fill an empty sequence from a file of :meth:`save`; return whether that worked."""
        array, count = (llama.llama_token * header_length)(), ctypes.c_size_t()
        path_bytes = os.fsencode(path)
        return bool(
            llama.llama_state_seq_load_file(
                self.handle, path_bytes, sequence, array, header_length, ctypes.byref(count)
            )
        )

    def _allocate(self, options: ContextOptions) -> ctypes.c_void_p:
        native.forget_errors()
        handle: ctypes.c_void_p | None = llama.llama_init_from_model(self.model.handle, parameters(options))
        if not handle:
            reasons = native.recent_errors()
            what, why = f"a context of {options.size} tokens with {self.model.path.name}", "; ".join(reasons)
            if native.is_about_memory(why):
                raise OutOfMemoryError(f"There is not enough memory for {what} ({reasons[0]}): use a smaller --ctx.")
            raise LocalqwenError(
                f"llama.cpp cannot make {what} ({why or 'it gives no reason'}): leave out --kv-type and --ubatch."
            )
        llama.llama_set_abort_callback(handle, self._abort.callback, self._abort.data)
        self._memory = llama.llama_get_memory(handle)
        return handle

    def _state(self) -> ctypes.Array[ctypes.c_uint8]:
        size = llama.llama_state_get_size(self.handle)
        try:
            data: ctypes.Array[ctypes.c_uint8] = (ctypes.c_uint8 * size)()
        except MemoryError as error:
            raise OutOfMemoryError(f"There is no memory to move a KV cache of {size} bytes.") from error
        assert llama.llama_state_get_data(self.handle, data, size) == size
        return data

    def _restore(self, data: ctypes.Array[ctypes.c_uint8]) -> None:
        if llama.llama_state_set_data(self.handle, data, len(data)) != len(data):
            reasons = "; ".join(native.recent_errors())
            self.close()
            raise CacheLostError(f"The memory of the conversations was lost while it grew ({reasons}): ask again.")


def parameters(options: ContextOptions) -> llama.llama_context_params:
    """llama.cpp's parameters for ``options``."""
    params = llama.llama_context_default_params()
    params.n_ctx = options.size
    params.n_batch = params.n_ubatch = options.ubatch
    params.type_k = params.type_v = _GGML_TYPES[options.kv_type]
    params.n_seq_max = SEQUENCES
    params.kv_unified = True  # any sequence may use any cell
    # A few rows of logits instead of one per token of the batch: 300 MB less at a vocabulary of 152064.
    params.n_outputs_max = OUTPUTS
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
