"""Embeddings: a text's tokens to one vector of length 1.

llama.cpp pools over one ubatch only, so a long text would need a ubatch of its length. Here the tokens' own vectors
are asked for (pooling ``NONE``) and pooled in Python over slices: with causal attention and a KV cache a token's vector
does not depend on where the slices are cut, and memory stays bounded by the slice.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

import llama_cpp.llama_cpp as llama
import numpy as np
import numpy.typing as npt

from localqwen.engine import native
from localqwen.engine.context import ABORTED, UBATCH, DecodeAbortedError, DecodeError
from localqwen.engine.model import Model
from localqwen.engine.rope import Rope
from localqwen.errors import InvalidRequestError, OutOfMemoryError, PromptTooLongError

# llama.cpp computes logits for every token whose vector is asked for, and keeps them: 78 MB at a vocabulary of 152064.
SLICE = 128

MEAN, CLS, LAST = llama.LLAMA_POOLING_TYPE_MEAN, llama.LLAMA_POOLING_TYPE_CLS, llama.LLAMA_POOLING_TYPE_LAST


class Embedder:
    """Embeds texts of up to ``size`` tokens, one after the other.

    Only one thread may use it; :meth:`abort` alone may be called from any.
    """

    def __init__(self, model: Model, size: int, threads: int, rope: Rope, slice_length: int = SLICE) -> None:
        """Allocate the KV cache.

        Raises :class:`OutOfMemoryError` when there is no room for it, and :class:`InvalidRequestError` for a model
        that ranks instead of embedding.
        """
        self._pooling = _pooling(model)
        causal = model.metadata(f"{model.architecture}.attention.causal") != "false"
        if not causal:
            # Every token sees those after it, so the whole text has to be one slice, with a row of logits each.
            size = slice_length = min(size, UBATCH)
        self.size = size
        self._slice = min(slice_length, size)
        self._width: int = llama.llama_model_n_embd_out(model.handle)
        self._abort = native.AbortFlag()
        native.forget_errors()
        pooled = model.metadata(f"{model.architecture}.pooling_type") is not None
        params = _parameters(size, self._slice, threads, rope, pooled=pooled)
        self._handle = llama.llama_init_from_model(model.handle, params)
        if not self._handle:
            reasons = native.recent_errors()
            raise OutOfMemoryError(
                f"There is not enough memory for embeddings of {size} tokens with {model.path.name}"
                f"{f' ({reasons[0]})' if reasons else ''}: use a smaller --ctx."
            )
        llama.llama_set_abort_callback(self._handle, self._abort.callback, self._abort.data)
        self._memory = llama.llama_get_memory(self._handle)
        self._batch = llama.llama_batch_init(self._slice, 0, 1)

    def close(self) -> None:
        """Free the KV cache."""
        if self._handle:
            llama.llama_batch_free(self._batch)
            llama.llama_free(self._handle)
            self._handle = None

    def abort(self) -> None:
        """Stop a running :meth:`embed` (on the CPU within milliseconds) and refuse more until :meth:`resume`."""
        self._abort.set()

    def resume(self) -> None:
        """Allow embedding again."""
        self._abort.clear()

    def embed(self, tokens: Sequence[int]) -> list[float]:
        """The vector of a text, of the model's hidden size and Euclidean length 1, pooled as the file says.

        A file that says nothing (a chat model's) gives the mean of its tokens' vectors. Raises
        :class:`InvalidRequestError` for no tokens, :class:`PromptTooLongError` for more than :attr:`size`,
        :class:`DecodeAbortedError` and :class:`DecodeError`.
        """
        steps = self.steps(tokens)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                vector: list[float] = done.value
                return vector

    def steps(self, tokens: Sequence[int]) -> Generator[None, None, list[float]]:
        """As :meth:`embed`, with a pause after every slice; one text has to be done before the next begins."""
        if not tokens:
            raise InvalidRequestError("There is no text to embed: the input is empty.")
        if len(tokens) > self.size:
            raise PromptTooLongError(
                f"The text has {len(tokens)} tokens, and {self.size} can be embedded at once: cut it into parts."
            )
        # Data of an embedding has to be cleared: what an aborted text left would be seen by this one.
        llama.llama_memory_clear(self._memory, False)
        total = np.zeros(self._width, np.float64)
        for start in range(0, len(tokens), self._slice):
            rows = self._vectors(tokens[start : start + self._slice], start)
            if self._pooling == MEAN:
                total += rows.sum(axis=0, dtype=np.float64)
            elif self._pooling == LAST or start == 0:
                total = rows[-1 if self._pooling == LAST else 0].astype(np.float64)
            yield
        length = float(np.linalg.norm(total))
        if not length > 0:
            raise DecodeError("The model gives this text a vector of no length or of no numbers: use another model.")
        return [float(value) for value in total / length]

    def _vectors(self, tokens: Sequence[int], start: int) -> npt.NDArray[np.float32]:
        """One row for each of a slice's tokens, which stand at ``start`` and after."""
        batch = self._batch
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i] = token
            batch.pos[i] = start + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = 1
        native.forget_errors()
        status = llama.llama_decode(self._handle, batch)
        if status == ABORTED:
            raise DecodeAbortedError("The embedding was stopped.")
        if status != 0:
            reasons = "; ".join(native.recent_errors()) or f"llama_decode returned {status}"
            raise DecodeError(f"llama.cpp could not compute ({reasons}): use a smaller --ctx or fewer --gpu-layers.")
        rows = np.ctypeslib.as_array(llama.llama_get_embeddings(self._handle), (len(tokens), self._width))
        return np.array(rows, np.float32)


def _pooling(model: Model) -> int:
    """llama.cpp's number of the file's pooling: its first token's, its last one's, or the mean."""
    pooling = model.metadata(f"{model.architecture}.pooling_type")
    if pooling == str(llama.LLAMA_POOLING_TYPE_RANK):
        raise InvalidRequestError(f"{model.path.name} ranks texts and does not embed them: use another model.")
    return int(pooling) if pooling in {str(CLS), str(LAST)} else MEAN


def _parameters(size: int, slice_length: int, threads: int, rope: Rope, *, pooled: bool) -> object:
    params = llama.llama_context_default_params()
    params.n_ctx = size
    params.n_batch = params.n_ubatch = slice_length
    params.n_threads = params.n_threads_batch = threads
    params.embeddings = True
    if pooled:  # unasked, a file that says nothing is not pooled, and llama.cpp has nothing to warn of
        params.pooling_type = llama.LLAMA_POOLING_TYPE_NONE
    params.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_AUTO  # off only where a backend cannot
    params.no_perf = True
    if not rope.from_file:
        yarn = rope.factor > 1
        params.rope_scaling_type = llama.LLAMA_ROPE_SCALING_TYPE_YARN if yarn else llama.LLAMA_ROPE_SCALING_TYPE_NONE
        params.rope_freq_scale = 1 / rope.factor
        params.yarn_orig_ctx = rope.original
    return params
