"""Answers that keep to a grammar: after every token, only tokens that can go on are allowed, thanks to llguidance."""

from __future__ import annotations

import threading
from functools import cached_property

import numpy as np
from llguidance import LLMatcher, LLTokenizer

from localqwen.engine.grammar import Grammar, Vocabulary, compile_matcher, json_object, json_schema, lark, refusal
from localqwen.engine.grammar_trial import trial
from localqwen.engine.model import Model
from localqwen.engine.penalties import Row
from localqwen.errors import InvalidRequestError

__all__ = ["Constraints", "Grammar", "Matcher", "json_object", "json_schema", "lark"]

# To a byte of llguidance's mask, whose lowest bit is the first token, what to add to the logits of its eight tokens.
_BLOCK = np.where(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little"), 0, -np.inf).astype(
    np.float32
)


class Constraints:
    """Makes matchers for a model. Safe in any thread."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._lock = threading.Lock()

    def matcher(self, grammar: Grammar) -> Matcher:
        """A matcher for one answer. Takes 0.1 s for a grammar not seen before, and 1 s once for Qwen2's vocabulary.

        Raises :class:`InvalidRequestError` with llguidance's reason for a grammar that it cannot keep to.
        """
        if not (reason := trial(grammar.text)):
            with self._lock:
                tokenizer = self._tokenizer
            matcher = compile_matcher(tokenizer, grammar.text)
            reason = refusal(matcher)
        if reason:
            raise InvalidRequestError(f"The answer cannot be held to this schema or grammar: {reason}.")
        return Matcher(matcher, self._model.vocabulary_size)

    @cached_property
    def _tokenizer(self) -> LLTokenizer:
        model = self._model
        ends = [token for token in range(model.vocabulary_size) if model.ends_answer(token)]
        if not ends:
            raise InvalidRequestError(
                f"{model.path.name} has no token that ends an answer, so none can be constrained."
            )
        # Control tokens and the padding of the vocabulary have no bytes, and so no grammar allows them.
        pieces = [model.piece(token) for token in range(model.vocabulary_size)]
        return LLTokenizer(Vocabulary(pieces, ends, model.tokenize), eos_token=ends)


class Matcher:
    """Where one answer stands in its grammar."""

    def __init__(self, matcher: LLMatcher, vocabulary_size: int) -> None:
        self._matcher = matcher
        self._size = vocabulary_size
        self._mask = np.zeros((vocabulary_size + 31) // 32 * 4, np.uint8)
        self._address = self._mask.ctypes.data
        self._block = np.empty((len(self._mask), 8), np.float32)

    def apply(self, row: Row) -> None:
        """Block (set to minus infinity) what cannot go on. An end of the answer goes on where the grammar may end.

        Args:
            row: logits, float32 of shape (vocabulary,), changed in place.

        Raises:
            InvalidRequestError: llguidance gives up because the grammar has become too complex.
        """
        self._matcher.unsafe_compute_mask_ptr(self._address, self._mask.nbytes)
        self._check()
        # Looking bytes up and adding takes a tenth of the time that unpacking bits and assigning where they are 0 does.
        np.take(_BLOCK, self._mask, axis=0, out=self._block, mode="clip")
        np.add(row, self._block.reshape(-1)[: self._size], out=row)

    def accept(self, token: int) -> None:
        """Go on with a token that :meth:`apply` allowed."""
        self._matcher.consume_token(token)
        self._check()

    @property
    def finished(self) -> bool:
        """Whether the answer is complete and nothing but its end may follow."""
        return self._matcher.is_stopped()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise InvalidRequestError(
                f"The answer cannot go on in its schema or grammar ({refusal(self._matcher)}): simplify it."
            )
