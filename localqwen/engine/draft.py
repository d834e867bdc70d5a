"""Guesses from a second, smaller model of the same family.

Only the thread of the decode loop may use a draft model; :meth:`DraftModel.abort` alone may be called from any.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import llama_cpp.llama_cpp as llama
import numpy as np
import numpy.typing as npt

from localqwen.engine.context import UBATCH, Batch, Context, ContextOptions, DecodeError
from localqwen.engine.model import Model
from localqwen.engine.placement import CPU_ONLY, Placement
from localqwen.engine.prefix import common_prefix
from localqwen.engine.rope import rope_for
from localqwen.errors import InvalidRequestError

MIN_PROBABILITY = 0.3  # of the draft model's own best token, below which it stops guessing
# More new tokens than that are a prompt to read: work that is done once, and no part of what a guess costs.
PREFILL = 32


class DraftModel:
    """A drafter for all jobs of an engine, one after the other; what two conversations have in common stays cached."""

    free = False
    priors: Sequence[tuple[float, float]] = ((0.7, 0.8),)

    def __init__(
        self,
        path: Path,
        target: Model,
        size: int,
        threads: int,
        placement: Placement = CPU_ONLY,
        on_progress: Callable[[float], bool] = lambda _: True,
    ) -> None:
        """Load a draft model for ``target``, whose contexts hold ``size`` tokens; :meth:`close` it before the target.

        Raises what :meth:`Model.load` raises, :class:`InvalidRequestError` when the vocabularies differ, and
        :class:`~localqwen.errors.OutOfMemoryError`.
        """
        self.spent = 0.0
        self._model = Model.load(path, placement, on_progress)
        try:
            check_vocabularies(self._model, target)
            size = min(size, self._model.window.longest)
            self._context = Context(self._model, ContextOptions(size, threads, rope_for(size, self._model.window)))
        except BaseException:
            self._model.close()
            raise
        self._batch = Batch()
        self._tokens: list[int] = []
        self._common = min(self._model.vocabulary_size, target.vocabulary_size)

    def close(self) -> None:
        """Free the weights and the KV cache."""
        self._batch.close()
        self._context.close()
        self._model.close()

    def abort(self) -> None:
        """Stop a running guess and make no more until :meth:`resume`."""
        self._context.abort()

    def resume(self) -> None:
        """Allow guessing again."""
        self._context.resume()

    def confidence(self, tokens: Sequence[int]) -> int | None:
        """The one level there is; ``None`` beyond the draft model's window or vocabulary."""
        inside = 0 < len(tokens) < self._context.options.size and tokens[-1] < self._common
        return 0 if inside else None

    def draft(self, tokens: Sequence[int], limit: int) -> Sequence[int]:
        """The likeliest continuation of up to ``limit`` tokens, as far as the model is sure enough of it.

        None while a long prompt is being read, a ubatch at each call, so that nobody waits for the whole of it. An
        aborted or failed decode ends a guess, since it may always be shorter.
        """
        limit = min(limit, self._context.options.size - len(tokens))
        guess: list[int] = []
        started = time.perf_counter()
        try:
            if self._read(tokens) > PREFILL:
                started = time.perf_counter()
            while len(self._tokens) == len(tokens) + len(guess) and len(guess) < limit:
                token, probability = likeliest(self._logits())
                if probability < MIN_PROBABILITY:
                    break
                guess.append(token)
                if len(guess) == limit or self._model.ends_answer(token):
                    break
                self._decode([token])
        except DecodeError:
            pass
        self.spent += time.perf_counter() - started
        return guess

    def _read(self, tokens: Sequence[int]) -> int:
        """Bring the cache a ubatch closer to ``tokens``; return how many tokens that took."""
        kept = min(common_prefix(self._tokens, tokens), len(tokens) - 1)
        self._context.truncate(0, kept)
        del self._tokens[kept:]
        new = tokens[kept : kept + UBATCH]
        if any(token >= self._common for token in new):
            raise DecodeError("The draft model does not know a token of the conversation.")
        self._decode(new)
        return len(new)

    def _decode(self, tokens: Sequence[int]) -> None:
        """Append tokens; the logits of the last one stay."""
        self._batch.clear()
        self._batch.add(0, tokens, len(self._tokens), 1)
        self._context.decode(self._batch)
        self._tokens += tokens

    def _logits(self) -> npt.NDArray[np.float32]:
        """The logits of the last token decoded, without the padding that only one of the models has: (n,) float32."""
        row = llama.llama_get_logits_ith(self._context.handle, -1)
        return np.ctypeslib.as_array(row, shape=(self._model.vocabulary_size,))[: self._common]


def likeliest(logits: npt.NDArray[np.float32]) -> tuple[int, float]:
    """The token with the largest logit, and its probability."""
    best = int(logits.argmax())
    return best, 1 / float(np.exp(logits - logits[best]).sum())


def check_vocabularies(draft: Model, target: Model) -> None:
    """Raise :class:`InvalidRequestError` unless ids mean the same in both models and their sizes differ by padding."""
    reason = _difference(draft, target)
    if reason:
        raise InvalidRequestError(
            f"{draft.path.name} cannot draft for {target.path.name}: {reason}; give a smaller model of the same family."
        )


def _difference(draft: Model, target: Model) -> str | None:
    small, large = sorted((draft, target), key=lambda model: model.vocabulary_size)
    text = llama.llama_vocab_get_text
    for token in range(small.vocabulary_size):
        if text(small.vocabulary, token) != text(large.vocabulary, token):
            return f"token {token} is {draft.token_text(token)!r} in one and {target.token_text(token)!r} in the other"
    for token in range(small.vocabulary_size, large.vocabulary_size):
        if not llama.llama_vocab_get_attr(large.vocabulary, token) & llama.LLAMA_TOKEN_ATTR_UNUSED:
            return f"only {large.path.name} has token {token}, {large.token_text(token)!r}"
    for verb, special in (("begin", llama.llama_vocab_bos), ("end", llama.llama_vocab_eos)):
        if special(draft.vocabulary) != special(target.vocabulary):
            return f"different tokens {verb} their texts"
    # Only a control token can end an answer, so the others need not be asked.
    for token in sorted({*draft.control_tokens.values(), *target.control_tokens.values()}):
        if draft.ends_answer(token) != target.ends_answer(token):
            return f"token {token}, {target.token_text(token)!r}, ends an answer in only one of them"
    return None
