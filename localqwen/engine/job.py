"""What is asked of the engine, and what came of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from localqwen.engine.constraint import Matcher
from localqwen.engine.grammar import Grammar
from localqwen.engine.sampling import Sampling
from localqwen.events import AnswerEvent, Usage
from localqwen.params import SamplingParams

Sink = Callable[[AnswerEvent], None]


@dataclass(frozen=True, slots=True)
class Begun:
    """The beginning of an answer that is to be continued: its text, and how many of the prompt's last tokens it is."""

    text: str
    count: int


@dataclass(frozen=True, slots=True)
class Request:
    """An answer that is wanted: prompt token ids, sampling and limits.

    ``logit_bias`` holds token ids and what is added to their logits; ``top_logprobs`` is how many of the likeliest
    tokens to tell beside each token's own log probability, ``None`` for neither. A ``grammar`` decides what the answer
    may be. ``begun`` says that the prompt ends with the beginning of the answer.
    """

    prompt: Sequence[int]
    params: SamplingParams
    logit_bias: tuple[tuple[int, float], ...] = ()
    top_logprobs: int | None = None
    grammar: Grammar | None = None
    begun: Begun | None = None


@dataclass(eq=False, slots=True)
class Job:
    """One answer to generate, with ``sampling`` decided and the grammar compiled, and what came of it.

    Every job that is submitted gets one :class:`~localqwen.events.Finished`.
    """

    request: Request
    sampling: Sampling
    sink: Sink
    matcher: Matcher | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    cached_tokens: int = 0
    completion_tokens: int = 0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    yarn_factor: float = 0.0

    @property
    def prompt(self) -> Sequence[int]:
        """Token ids."""
        return self.request.prompt

    @property
    def usage(self) -> Usage:
        """Tokens and times so far."""
        return Usage(
            prompt_tokens=len(self.prompt),
            completion_tokens=self.completion_tokens,
            cached_tokens=self.cached_tokens,
            prefill_seconds=self.prefill_seconds,
            decode_seconds=self.decode_seconds,
            yarn_factor=self.yarn_factor,
        )
