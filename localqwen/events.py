"""What happens while a model loads and answers, as small frozen values.

The engine emits these, the server writes them as OpenAI chunks and extra server-sent events, the client turns them
back, and the transcript is built from them. This module imports next to nothing, so that every layer can share it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, TypeAlias, TypeGuard

from localqwen.params import SamplingParams
from localqwen.plan import Plan

# No count of tokens and no time is as large; what is can be no float.
LARGEST_NUMBER = 1 << 63
UNKNOWN_SAMPLING = SamplingParams()

FinishReason: TypeAlias = Literal["stop", "length", "cancelled", "error"]


@dataclass(frozen=True, slots=True)
class Loading:
    """Weights are being read; ``progress`` runs from 0 to 1.

    ``done`` of ``total`` bytes are there; both are 0 where nobody knows the size.
    """

    progress: float
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Planned:
    """Where the model goes. ``taken`` are the bytes that each device really gave, by name, once it is loaded."""

    plan: Plan
    taken: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Ready:
    """The model answers requests. ``context`` is its window in tokens.

    ``sampling`` is what answers get for which nothing else is asked, as far as that is known.
    """

    model: str
    context: int
    sampling: SamplingParams = UNKNOWN_SAMPLING


@dataclass(frozen=True, slots=True)
class Asked:
    """A question goes out now: there is a model that takes it. Whoever waited for the model says so; no server does."""


@dataclass(frozen=True, slots=True)
class Prefill:
    """``done`` of ``total`` prompt tokens are in the KV cache.

    ``yarn_factor`` stretches the positions of this conversation: 1 is no stretching, 0 is unknown.
    """

    done: int
    total: int
    yarn_factor: float = 0.0


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token's bytes, and the natural logarithm of the probability that the model gave it."""

    data: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class Logprobs:
    """One token of the answer, and the ``top`` likeliest in its place, likeliest first."""

    chosen: TokenLogprob
    top: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """More text of the answer; whole characters, never half of one.

    ``logprobs`` of the tokens that it was made of are there when they were asked for.
    """

    text: str
    logprobs: tuple[Logprobs, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and seconds of one answer; the seconds are 0 where a server does not tell.

    ``cached_tokens`` of the ``prompt_tokens`` were in the KV cache already and cost nothing. ``yarn_factor`` stretched
    the conversation's positions at the end: 1 is no stretching, 0 is unknown. ``first_token_seconds`` passed between
    the question and the first text, as whoever asked has measured them.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    yarn_factor: float = 0.0
    first_token_seconds: float = 0.0

    @classmethod
    def of(cls, values: Mapping[str, object]) -> Self:
        """What foreign values tell; those that are no proper numbers count as unknown."""
        told = {field.name: (values.get(field.name), type(field.default)) for field in fields(cls)}
        return cls(**{name: value for name, (value, kind) in told.items() if _is_number(value, kind)})

    @property
    def tokens_per_second(self) -> float:
        """Decode speed, or 0 where it is unknown."""
        return self.completion_tokens / self.decode_seconds if self.decode_seconds > 0 else 0.0


def _is_number(value: object, kind: type) -> TypeGuard[Any]:
    if isinstance(value, bool) or not isinstance(value, int | float if kind is float else int):
        return False
    return 0 <= value < LARGEST_NUMBER  # neither of which NaN is


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer is over; ``error`` is a sentence when ``reason`` is ``"error"``.

    ``is_lost`` says that it ended because nobody answers at the server's address, or not any more.
    """

    reason: FinishReason
    usage: Usage = Usage()
    error: str | None = None
    is_lost: bool = False


AnswerEvent: TypeAlias = Asked | Prefill | Delta | Finished
LoadEvent: TypeAlias = Planned | Loading | Ready
