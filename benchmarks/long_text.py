"""A long text, and what a model makes of it under a YaRN factor: for benchmarks of positions far out."""

from __future__ import annotations

import ctypes
import pydoc_data.topics
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import llama_cpp.llama_cpp as llama
import numpy as np
import numpy.typing as npt

from localqwen.engine.model import Model
from localqwen.engine.rope import Rope

BATCH = 2048
ROWS = 64  # of logits at a time: an array of float64 for a whole batch would take 200 MB

Floats = npt.NDArray[np.float32]


def text() -> str:
    """Python's language reference, which every Python brings: about 460 kB of prose and code."""
    topics: dict[str, str] = pydoc_data.topics.topics
    return "\n\n".join(topics[name] for name in sorted(topics))


class Cache:
    """One sequence in a llama.cpp context of its own, every token of which gives its logits."""

    def __init__(self, model: Model, size: int, rope: Rope | None, threads: int) -> None:
        """``rope`` None leaves everything to the file, as other programs do."""
        params = llama.llama_context_default_params()
        params.n_ctx = size
        params.n_batch = params.n_ubatch = BATCH
        params.n_threads = params.n_threads_batch = threads
        if rope is not None:
            kinds = llama.LLAMA_ROPE_SCALING_TYPE_NONE, llama.LLAMA_ROPE_SCALING_TYPE_YARN
            params.rope_scaling_type = kinds[rope.factor > 1]
            params.rope_freq_scale = 1 / rope.factor
            params.yarn_orig_ctx = rope.original
        self.handle: Any = llama.llama_init_from_model(model.handle, params)
        assert self.handle, "llama.cpp made no context"
        self._width = model.vocabulary_size
        self._batch = llama.llama_batch_init(BATCH, 0, 1)
        self.length = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        llama.llama_batch_free(self._batch)
        llama.llama_free(self.handle)

    def prefill(self, tokens: Sequence[int]) -> float:
        """Decode without logits; return the seconds it took."""
        start = time.perf_counter()
        for at in range(0, len(tokens), BATCH):
            self._decode(tokens[at : at + BATCH], logits=False)
        llama.llama_synchronize(self.handle)
        return time.perf_counter() - start

    def logits(self, tokens: Sequence[int]) -> Iterator[Floats]:
        """Decode; yield the logits after each token, up to ``BATCH`` rows of the vocabulary's width at once."""
        for at in range(0, len(tokens), BATCH):
            part = tokens[at : at + BATCH]
            self._decode(part, logits=True)
            yield np.ctypeslib.as_array(llama.llama_get_logits(self.handle), shape=(len(part), self._width))

    def nll(self, tokens: Sequence[int]) -> Floats:
        """Decode; minus the logarithm of the probability that each token but the first had, in nats."""
        parts, at = [], 0
        for rows in self.logits(tokens):
            targets = np.asarray(tokens[at + 1 : at + 1 + len(rows)])
            found = log_probabilities(rows[: len(targets)])
            parts.append(-found[np.arange(len(targets)), targets])
            at += len(rows)
        return np.concatenate(parts)

    def state(self) -> bytearray:
        """The sequence as llama.cpp saves it."""
        state = bytearray(llama.llama_state_seq_get_size(self.handle, 0))
        buffer = (ctypes.c_uint8 * len(state)).from_buffer(state)
        assert llama.llama_state_seq_get_data(self.handle, buffer, len(state), 0) == len(state)
        return state

    def restore(self, state: bytearray, length: int) -> None:
        """Take a sequence of ``length`` tokens back."""
        buffer = (ctypes.c_uint8 * len(state)).from_buffer(state)
        assert llama.llama_state_seq_set_data(self.handle, buffer, len(state), 0) == len(state)
        self.length = length

    def _decode(self, tokens: Sequence[int], *, logits: bool) -> None:
        batch = self._batch
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i] = token
            batch.pos[i] = self.length + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = logits or i == len(tokens) - 1
        assert llama.llama_decode(self.handle, batch) == 0, "llama.cpp could not compute"
        self.length += len(tokens)


def log_probabilities(logits: Floats) -> Floats:
    """The log-softmax over the last axis, of rows of logits."""
    result = np.empty(logits.shape, np.float32)
    for at in range(0, len(logits), ROWS):
        rows = logits[at : at + ROWS]
        rows = rows - rows.max(-1, keepdims=True)
        result[at : at + ROWS] = rows - np.log(np.exp(rows).sum(-1, keepdims=True))
    return result
