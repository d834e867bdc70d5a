"""Which sampling an answer gets: what the request asks, and for the rest what the model's publisher recommends."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

from localqwen.errors import InvalidRequestError
from localqwen.params import SamplingParams


@dataclass(frozen=True, slots=True)
class Sampling:
    """Everything decided.

    ``temperature`` 0 is greedy; ``top_k`` 0, ``top_p`` 1, ``min_p`` 0, ``repetition_penalty`` 1 and the other two
    penalties at 0 are off. The repetition penalty counts the tokens of the prompt and of the answer, frequency and
    presence penalty those of the answer only, as in vLLM.
    """

    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repetition_penalty: float
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int = 0


# For files that say nothing about sampling: llama.cpp's own defaults.
FALLBACK = Sampling(temperature=0.8, top_p=0.95, top_k=40, min_p=0.05, repetition_penalty=1.0)
# For files that say something: what they leave out is off, as in the generation_config.json that they come from.
NEUTRAL = Sampling(temperature=1.0, top_p=1.0, top_k=0, min_p=0.0, repetition_penalty=1.0)
# The keys that have a counterpart in OpenAI's or vLLM's API. Left alone are llama.cpp's own: the order of its samplers
# (sequence), XTC, Mirostat, and penalty_last_n, because here the repetition penalty looks at all tokens.
METADATA = {
    "temperature": "general.sampling.temp",
    "top_p": "general.sampling.top_p",
    "top_k": "general.sampling.top_k",
    "min_p": "general.sampling.min_p",
    "repetition_penalty": "general.sampling.penalty_repeat",
}
WISHES = (*METADATA, "frequency_penalty", "presence_penalty")
# llama.cpp takes 2**32 - 1 for "draw a seed", so that number is never passed on.
SEEDS = 2**32 - 1


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
    named = {name: getattr(asked, name) for name in WISHES}
    sampling = replace(default, **{name: value for name, value in named.items() if value is not None})
    _require(0 <= sampling.temperature <= 2, "temperature", "from 0 to 2")
    _require(0 < sampling.top_p <= 1, "top_p", "above 0 and at most 1")
    _require(-1 <= sampling.top_k < 2**31, "top_k", "0 (off) or more")
    _require(0 <= sampling.min_p <= 1, "min_p", "from 0 to 1")
    _require(0 < sampling.repetition_penalty <= 10, "repetition_penalty", "above 0 and at most 10")
    _require(-2 <= sampling.frequency_penalty <= 2, "frequency_penalty", "from -2 to 2")
    _require(-2 <= sampling.presence_penalty <= 2, "presence_penalty", "from -2 to 2")
    seed = secrets.randbelow(SEEDS) if asked.seed is None else asked.seed % SEEDS
    return replace(sampling, seed=seed)


def _require(condition: bool, name: str, range_: str) -> None:
    if not condition:
        raise InvalidRequestError(f"{name} must be {range_}.")
