"""From logits to a token, with llama.cpp's samplers."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import llama_cpp.llama_cpp as llama
import numpy as np

from localqwen.engine import native, penalties
from localqwen.engine.logprobs import logprobs
from localqwen.engine.model import Model
from localqwen.engine.penalties import Edit, Row
from localqwen.engine.sampling import Sampling
from localqwen.events import Logprobs

if TYPE_CHECKING:
    from localqwen.engine.constraint import Matcher

MOST_ROWS = 64


class Sampler:
    """Draws the tokens of one answer.

    The order is that of transformers' and vLLM's, for which publishers tune their values: bias, penalties, constraint,
    temperature, top-k, top-p, min-p. (Top-k commutes with temperature and makes the rest cheap, so it goes first.)
    What comes before the temperature is numpy on a row of logits; the rest is a chain of llama.cpp's samplers.
    """

    def __init__(
        self,
        model: Model,
        sampling: Sampling,
        prompt: Sequence[int],
        *,
        logit_bias: Sequence[tuple[int, float]] = (),
        top_logprobs: int | None = None,
        matcher: Matcher | None = None,
    ) -> None:
        """Prepare for an answer to ``prompt``, token ids that the repetition penalty looks at.

        ``top_logprobs`` is how many of the likeliest tokens :attr:`last_logprobs` tells, ``None`` for no log
        probabilities at all. Raises :class:`InvalidRequestError` for a ``logit_bias`` that is out of range.
        """
        self.last_logprobs: Logprobs | None = None
        self._piece = model.piece
        self._top_logprobs = top_logprobs
        self._edits: list[Edit] = penalties.edits(sampling, prompt, logit_bias, model.vocabulary_size)
        if matcher is not None:
            self._edits.append(matcher)
        self._plain = not self._edits and top_logprobs is None
        self._greedy = sampling.temperature == 0
        self._size = model.vocabulary_size
        self._rows: dict[int, Row] = {}
        self._raw = np.empty(0 if self._plain else model.vocabulary_size, np.float32)
        self._chain = _chain(sampling)

    def sample(self, context: Any, row: int) -> int:
        """Draw a token from the logits of a row of the last decode, and take note of it.

        Args:
            context: the handle of the llama.cpp context.
            row: the token's index in the batch, -1 for the last; several rows are sampled in their order. The logits
                are left as they were found, so that another sampler may draw from the same row.

        Raises:
            InvalidRequestError: the grammar has become too complex to go on.
        """
        if self._plain:
            if self._greedy:  # numpy finds it in a tenth of the time that the chain takes
                return int(self._logits(context, row).argmax())
            return int(llama.llama_sampler_sample(self._chain, context, row))
        logits = self._logits(context, row)
        np.copyto(self._raw, logits)
        try:
            for edit in self._edits:
                edit.apply(logits)
            token = int(llama.llama_sampler_sample(self._chain, context, row))
        finally:
            np.copyto(logits, self._raw)
        for edit in self._edits:
            edit.accept(token)
        if self._top_logprobs is not None:
            self.last_logprobs = logprobs(self._raw, token, self._top_logprobs, self._piece)
        return token

    def accept(self, tokens: Sequence[int]) -> None:
        """Take note of tokens that the answer began with."""
        for token in tokens:
            for edit in self._edits:
                edit.accept(token)

    def close(self) -> None:
        """Free the chain."""
        if self._chain:
            llama.llama_sampler_free(self._chain)
            self._chain = None

    def _logits(self, context: Any, row: int) -> Row:
        """llama.cpp's own memory, which the chain reads; no copy."""
        address = native.logits_address(context, row)
        assert address, f"row {row} has no logits"
        logits = self._rows.get(address)
        if logits is None:  # there are as many as a batch may have outputs, and more when the context moves
            if len(self._rows) >= MOST_ROWS:
                self._rows.clear()
            logits = self._rows[address] = np.ctypeslib.as_array((ctypes.c_float * self._size).from_address(address))
        return logits


def _chain(sampling: Sampling) -> Any:
    chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
    for sampler in _samplers(sampling):
        llama.llama_sampler_chain_add(chain, sampler)
    return chain


def _samplers(sampling: Sampling) -> list[Any]:
    if sampling.temperature == 0:
        return [llama.llama_sampler_init_greedy()]
    samplers = []
    if sampling.top_k > 0:
        samplers.append(llama.llama_sampler_init_top_k(sampling.top_k))
    samplers.append(llama.llama_sampler_init_temp(sampling.temperature))
    if sampling.top_p < 1:
        samplers.append(llama.llama_sampler_init_top_p(sampling.top_p, 1))
    if sampling.min_p > 0:
        samplers.append(llama.llama_sampler_init_min_p(sampling.min_p, 1))
    samplers.append(llama.llama_sampler_init_dist(sampling.seed))
    return samplers
