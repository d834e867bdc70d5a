"""A job while the loop works on it: tokens in, text out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from localqwen.engine.cache import Cache
from localqwen.engine.job import Job
from localqwen.engine.model import Model
from localqwen.engine.prefix import Slot, common_prefix
from localqwen.engine.sampler import Sampler
from localqwen.engine.speculation import Speculation
from localqwen.engine.text import AnswerText
from localqwen.events import AnswerEvent, Delta, FinishReason, Logprobs, Prefill

log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Step:
    """A job's part of a batch: ``count`` pending tokens from ``row`` on, then a ``draft``, of it some ``accepted``."""

    running: Running
    row: int
    count: int
    draft: Sequence[int] = ()
    accepted: int = 0


class Running:
    """The state of a job between two decodes.

    ``tokens`` are prompt and answer. Those that its ``slot`` does not hold are pending: many in prefill, one in
    generation, and all of them again when the sequence was lost to others.
    """

    def __init__(self, job: Job, model: Model, longest: int, speculation: Speculation | None = None) -> None:
        """``longest`` is how many tokens prompt and answer may have together."""
        self.job = job
        self.speculation = speculation
        self.tokens: list[int] = list(job.prompt)
        self.cache: Cache | None = None
        self.slot: Slot | None = None
        self.gave_way: int | None = None  # how many jobs had ended when it had to
        self._model = model
        self._sampler: Sampler | None = None
        self._text = AnswerText(job.request.params.stop)
        self._shown: list[str] = []
        self._logprobs: list[Logprobs] = []  # of tokens whose text is held back
        limit = job.request.params.max_tokens
        self.longest = min(longest, len(self.tokens) + limit) if limit is not None else longest
        self._started = self._answering = 0.0

    @property
    def pending(self) -> int:
        """How many tokens are to be decoded before the next one can be sampled."""
        return len(self.tokens) - (len(self.slot.tokens) if self.slot else 0)

    @property
    def room(self) -> int:
        """How many more tokens the answer may have."""
        return self.longest - len(self.tokens)

    @property
    def generated(self) -> Sequence[int]:
        """The answer's tokens so far."""
        return self.tokens[len(self.job.prompt) :]

    @property
    def text(self) -> str:
        """The answer's text so far, as it was told."""
        return "".join(self._shown)

    def begin(self, cache: Cache, slot: Slot) -> None:
        """Work in a sequence of ``cache``."""
        self.cache, self.slot = cache, slot
        self.job.yarn_factor = cache.rope.factor
        if not self._started:
            self._started = time.perf_counter()
            self.job.cached_tokens = len(self.slot.tokens)
        self.tell_prefill()

    def pause(self) -> None:
        """Let the sequence go, to begin again later; it stays cached."""
        if self.cache is not None and self.slot is not None:
            self.cache.end(self.slot)
        self.cache = self.slot = None

    def lose(self) -> None:
        """Give the sequence up: what it holds is not to be trusted any more."""
        if self.cache is not None and self.slot is not None:
            self.cache.drop(self.slot)
        self.cache = self.slot = None

    def forget_guesses(self) -> None:
        """Keep in the sequence only what the conversation has."""
        if self.cache is not None and self.slot is not None:
            self.cache.truncate(self.slot, common_prefix(self.slot.tokens, self.tokens))

    def tell_prefill(self) -> None:
        """Tell how far the prompt is, unless the answer has begun."""
        if not self._answering and self.slot is not None:
            total = len(self.job.prompt)
            self.tell(Prefill(min(len(self.slot.tokens), total), total, self.job.yarn_factor))

    def advance(self, step: Step) -> FinishReason | None:
        """Take note of what was decoded, and sample if nothing is pending; the answer may end with it."""
        assert self.slot is not None
        assert self.cache is not None
        start = len(self.slot.tokens)
        self.slot.append([*self.tokens[start : start + step.count], *step.draft])
        if not self._answering:
            self.tell_prefill()
        if start + step.count < len(self.tokens):
            return None
        row = step.row + step.count - 1
        for accepted, guess in enumerate([*step.draft, None]):
            step.accepted = accepted
            token, reason = self.sample(row + accepted)
            if reason or token != guess:
                break
        if step.accepted < len(step.draft):
            self.cache.truncate(self.slot, start + step.count + step.accepted)
        return reason

    def sample(self, row: int) -> tuple[int, FinishReason | None]:
        """Draw the token that follows a row of the last decode, and tell its text; the answer may end with it."""
        assert self.cache is not None
        if self._sampler is None:
            self._answering = time.perf_counter()
            self.job.prefill_seconds = self._answering - self._started
            self._sampler = self._new_sampler()
        token = self._sampler.sample(self.cache.context.handle, row)
        if self._model.ends_answer(token):
            return token, "stop"
        self.tokens.append(token)
        self.job.completion_tokens += 1
        if self._sampler.last_logprobs is not None:
            self._logprobs.append(self._sampler.last_logprobs)
        text, stopped = self._text.feed(self._model.piece(token))
        if text:
            self._show(text)
        if stopped:
            self._text = AnswerText()  # nothing more is to come
            return token, "stop"
        return token, None if self.room > 0 else "length"

    def close(self, reason: FinishReason) -> None:
        """Tell the rest of the text, and let the sequence go; it stays cached."""
        if reason != "error" and (rest := self._text.finish()):
            self._show(rest)
        if self._answering:
            self.job.decode_seconds = time.perf_counter() - self._answering
        elif self._started:
            self.job.prefill_seconds = time.perf_counter() - self._started
        if self._sampler is not None:
            self._sampler.close()
        self.pause()

    def tell(self, event: AnswerEvent) -> None:
        """Pass an event on to whoever asked."""
        tell(self.job, event)

    def _show(self, text: str) -> None:
        self._shown.append(text)
        if self._logprobs:
            self.tell(Delta(text, tuple(self._logprobs)))
            self._logprobs.clear()
        else:
            self.tell(Delta(text))

    def _new_sampler(self) -> Sampler:
        request, job = self.job.request, self.job
        sampler = Sampler(
            self._model,
            job.sampling,
            request.prompt,
            logit_bias=request.logit_bias,
            top_logprobs=request.top_logprobs,
            matcher=job.matcher,
        )
        if request.begun is not None:
            sampler.accept(request.prompt[len(request.prompt) - request.begun.count :])
        return sampler


def tell(job: Job, event: AnswerEvent) -> None:
    """Pass an event on; a sink that fails takes nobody else with it."""
    sink: Callable[[AnswerEvent], None] = job.sink
    try:
        sink(event)
    except Exception:  # whoever wanted to know is gone; the loop serves others
        log.debug("A job's sink failed", exc_info=True)
        job.cancelled.set()
