"""From logits to a token, with llama.cpp's samplers."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import llama_cpp.llama_cpp as llama

from localqwen.engine.model import Model
from localqwen.errors import InvalidRequestError
from localqwen.params import SamplingParams


@dataclass(frozen=True, slots=True)
class Sampling:
    """Everything decided: ``temperature`` 0 is greedy, ``top_k`` 0, ``top_p`` 1, ``min_p`` 0 and penalty 1 are off."""

    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repetition_penalty: float
    seed: int = 0


# For files that say nothing about sampling: llama.cpp's own defaults.
FALLBACK = Sampling(temperature=0.8, top_p=0.95, top_k=40, min_p=0.05, repetition_penalty=1.0)
# For files that say something: what they leave out is off, as in the generation_config.json that they come from.
NEUTRAL = Sampling(temperature=1.0, top_p=1.0, top_k=0, min_p=0.0, repetition_penalty=1.0)
METADATA = {
    "temperature": "general.sampling.temp",
    "top_p": "general.sampling.top_p",
    "top_k": "general.sampling.top_k",
    "min_p": "general.sampling.min_p",
    "repetition_penalty": "general.sampling.penalty_repeat",
}


def defaults(metadata: Callable[[str], str | None]) -> Sampling:
    """The publisher's sampling, from a GGUF's ``general.sampling.*`` keys; a value that is no number is ignored."""
    given: dict[str, float] = {}
    for name, key in METADATA.items():
        try:
            value = float(metadata(key) or "")
        except ValueError:
            continue
        if math.isfinite(value):
            given[name] = int(value) if name == "top_k" else value
    return replace(NEUTRAL, **given) if given else FALLBACK  # type: ignore[arg-type]


def decide(asked: SamplingParams, default: Sampling) -> Sampling:
    """Fill in what a request leaves open; without a seed, draw one.

    Raises :class:`InvalidRequestError` for a value outside of what OpenAI's API (and for ``top_k``, ``min_p`` and
    ``repetition_penalty``, vLLM) allows.
    """
    named = {name: getattr(asked, name) for name in METADATA}
    sampling = replace(default, **{name: value for name, value in named.items() if value is not None})
    _require(0 <= sampling.temperature <= 2, "temperature", "from 0 to 2")
    _require(0 < sampling.top_p <= 1, "top_p", "above 0 and at most 1")
    _require(-1 <= sampling.top_k < 2**31, "top_k", "0 (off) or more")
    _require(0 <= sampling.min_p <= 1, "min_p", "from 0 to 1")
    _require(0 < sampling.repetition_penalty <= 10, "repetition_penalty", "above 0 and at most 10")
    seed = secrets.randbits(32) if asked.seed is None else asked.seed % 2**32
    return replace(sampling, seed=seed)


def _require(condition: bool, name: str, range_: str) -> None:
    if not condition:
        raise InvalidRequestError(f"{name} must be {range_}.")


class Sampler:
    """The chain of samplers of one answer.

    The order is that of transformers' and vLLM's, for which publishers tune their values: penalty, temperature, top-k,
    top-p, min-p. (Top-k commutes with temperature and makes the rest cheap, so it goes first.) The repetition penalty
    looks at the whole prompt and answer, as theirs does.
    """

    def __init__(self, model: Model, sampling: Sampling, prompt: Sequence[int]) -> None:
        self._chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
        if sampling.repetition_penalty != 1:
            self._add(
                llama.llama_sampler_init_penalties(
                    model.vocabulary_size, 1 << 17, sampling.repetition_penalty, 0.0, 0.0
                )
            )
        if sampling.temperature == 0:
            self._add(llama.llama_sampler_init_greedy())
        else:
            if sampling.top_k > 0:
                self._add(llama.llama_sampler_init_top_k(sampling.top_k))
            self._add(llama.llama_sampler_init_temp(sampling.temperature))
            if sampling.top_p < 1:
                self._add(llama.llama_sampler_init_top_p(sampling.top_p, 1))
            if sampling.min_p > 0:
                self._add(llama.llama_sampler_init_min_p(sampling.min_p, 1))
            self._add(llama.llama_sampler_init_dist(sampling.seed))
        if sampling.repetition_penalty != 1:
            for token in prompt:
                llama.llama_sampler_accept(self._chain, token)

    def sample(self, context: object, row: int) -> int:
        """Draw a token from the logits of a row of the last batch, and take note of it."""
        return int(llama.llama_sampler_sample(self._chain, context, row))

    def close(self) -> None:
        """Free the chain."""
        if self._chain:
            llama.llama_sampler_free(self._chain)
            self._chain = None

    def _add(self, sampler: object) -> None:
        llama.llama_sampler_chain_add(self._chain, sampler)
