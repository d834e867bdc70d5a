"""Collects an importance matrix: runs a text through a model and adds up what every weight matrix is multiplied with.

The sums have the same bits as llama-imatrix's on the CPU, of the same chunks one after the other (its ``-c`` and
``-b`` with :func:`batch_size`; larger ``-b`` interleaves several chunks, which adds in another order).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import llama_cpp.llama_cpp as llama

from localqwen.engine import native
from localqwen.engine.context import UBATCH
from localqwen.engine.importance import Accumulator
from localqwen.engine.model import Model
from localqwen.engine.nodes import F32, Tensor, at, nodes, weight_name
from localqwen.errors import LocalqwenError, OutOfMemoryError

# Products with fewer rows are single tokens of a running answer (llama-imatrix passes over them too).
MIN_ROWS = 16


@dataclass(frozen=True, slots=True)
class Options:
    """``chunk`` tokens are computed together; ``process_output`` also collects ``output.weight``."""

    chunk: int = 512
    threads: int = 1
    process_output: bool = False


class CollectionStoppedError(LocalqwenError):
    """:meth:`Collector.stop` was called; the chunk that was being computed left no trace."""


def batch_size(chunk: int) -> int:
    """Tokens that are computed at once. Logits are kept of each, 300 MB for 512 at a vocabulary of 152064."""
    return min(chunk, UBATCH)


def tokenize(model: Model, text: str) -> list[int]:
    """Token ids of a text as llama-imatrix reads it: a BOS in front where the model wants one."""
    bos = [llama.llama_vocab_bos(model.vocabulary)] if _adds_bos(model) else []
    return bos + model.tokenize(text)


class Collector:
    """A context whose products are watched; close it before the model. One thread may use it, any may stop it."""

    def __init__(self, model: Model, options: Options) -> None:
        """Allocate the context. Raises :class:`OutOfMemoryError`, or :class:`NodesError` for another llama.cpp."""
        self.sums = Accumulator()
        self.options = options
        self._nodes = nodes()
        self._failure: BaseException | None = None
        self._abort = native.AbortFlag()
        # llama.cpp keeps a pointer to it.
        self._callback = llama.ggml_backend_sched_eval_callback(self._watch)
        native.forget_errors()
        self._context = llama.llama_init_from_model(model.handle, self._parameters())
        if not self._context:
            raise OutOfMemoryError(
                f"There is not enough memory for chunks of {options.chunk} tokens with {model.path.name}: "
                "use a smaller --ctx."
            )
        llama.llama_set_abort_callback(self._context, self._abort.callback, self._abort.data)
        self._batch = llama.llama_batch_init(batch_size(options.chunk), 0, 1)
        self._bos = llama.llama_vocab_bos(model.vocabulary) if _adds_bos(model) else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._context:
            llama.llama_batch_free(self._batch)
            llama.llama_free(self._context)
            self._context = None

    def stop(self) -> None:
        """Let :meth:`add` give up, on the CPU within milliseconds."""
        self._abort.set()

    def add(self, tokens: Sequence[int]) -> None:
        """Compute one chunk of ``options.chunk`` tokens and add its activations to :attr:`sums`.

        Raises:
            CollectionStoppedError: :meth:`stop` was called. The sums are then those before, as after every error.
            ImportanceError: the activations are not finite.
            LocalqwenError: llama.cpp could not compute.
        """
        assert len(tokens) == self.options.chunk
        before = self.sums.copy()
        try:
            self._decode(tokens if self._bos is None else [self._bos, *tokens[1:]])
        except BaseException:
            self.sums = before
            raise

    def _decode(self, tokens: Sequence[int]) -> None:
        llama.llama_memory_clear(llama.llama_get_memory(self._context), True)
        step = batch_size(len(tokens))
        for start in range(0, len(tokens), step):
            part = tokens[start : start + step]
            batch = self._batch
            batch.n_tokens = len(part)
            for i, token in enumerate(part):
                batch.token[i] = token
                batch.pos[i] = start + i
                batch.n_seq_id[i] = 1
                batch.seq_id[i][0] = 0
                batch.logits[i] = 1  # else the last layer computes nothing for tokens without
            native.forget_errors()
            status = llama.llama_decode(self._context, batch)
            if self._abort.is_set():
                raise CollectionStoppedError("stopped.")
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            if status:
                reasons = "; ".join(native.recent_errors()) or f"llama_decode returned {status}"
                raise LocalqwenError(f"llama.cpp could not compute ({reasons}): use a smaller --ctx.")

    def _watch(self, pointer: int, ask: bool, _data: object) -> bool:
        """ggml's scheduler asks whether a node's result is wanted, and calls again once that is computed."""
        try:
            if self._abort.is_set() or self._failure is not None:
                return False
            node = at(pointer)
            if ask:
                return self._wanted(node)
            self._collect(node)
            return True
        except BaseException as error:  # an exception cannot pass through llama.cpp
            self._failure = error
            return False

    def _wanted(self, node: Tensor) -> bool:
        if node.op == self._nodes.mul_mat_id:
            return True
        if node.op != self._nodes.mul_mat:
            return False
        rows = node.src[1].contents
        if rows.ne[1] < MIN_ROWS or rows.type != F32:
            return False
        name = weight_name(node.src[0].contents)
        return name.startswith("blk.") or (self.options.process_output and name == "output.weight")

    def _collect(self, node: Tensor) -> None:
        weights = node.src[0].contents
        name = weight_name(weights)
        rows = self._nodes.read(node.src[1].contents)
        if node.op == self._nodes.mul_mat_id:
            ids = self._nodes.read(node.src[2].contents)
            self.sums.experts(name, rows[0], ids[0, 0], weights.ne[2])
        else:
            self.sums.dense(name, rows, (weights.ne[3], weights.ne[2]))

    def _parameters(self) -> object:
        params = llama.llama_context_default_params()
        params.n_ctx = self.options.chunk
        params.n_batch = batch_size(self.options.chunk)
        params.n_threads = params.n_threads_batch = self.options.threads
        params.no_perf = True
        params.cb_eval = self._callback
        params.cb_eval_user_data = ctypes.c_void_p(None)
        return params


def collect(collector: Collector, tokens: Sequence[int], chunks: int, on_chunk: Callable[[int], None]) -> int:
    """Add the first ``chunks`` chunks of ``tokens``; returns how many were added before somebody stopped it.

    ``on_chunk`` gets the number of finished chunks after each.
    Raises as :meth:`Collector.add` does, but for :class:`CollectionStoppedError`.
    """
    size = collector.options.chunk
    for number in range(chunks):
        try:
            collector.add(tokens[number * size : (number + 1) * size])
        except CollectionStoppedError:
            return number
        on_chunk(number + 1)
    return chunks


def _adds_bos(model: Model) -> bool:
    return bool(llama.llama_vocab_get_add_bos(model.vocabulary))
