"""The answer that is being written, as a value, and how each event changes it. Pure: the caller brings the clock."""

from __future__ import annotations

from dataclasses import dataclass, replace

from localqwen.chats.tree import Message, MessageState
from localqwen.events import AnswerEvent, Asked, Delta, Finished, Prefill, Usage

# Over a shorter time a speed says nothing.
SHORTEST_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer on its way.

    ``message`` always holds all text so far. ``tokens`` counts deltas, which is what a streaming server sends one
    of per token or a little less; exact numbers come with the end. Times are in seconds of any one clock.

    When an answer is continued, ``message`` begins with the text so far, ``earlier`` are its statistics until then, and
    the rest counts from the continuation on.
    """

    message: Message
    prefill: Prefill | None = None
    tokens: int = 0
    asked_at: float | None = None
    first_token_at: float | None = None
    last_token_at: float | None = None
    earlier: Usage | None = None

    @property
    def is_over(self) -> bool:
        """Whether no more text will come."""
        return self.message.state != "streaming"

    @property
    def tokens_per_second(self) -> float:
        """Decode speed, exact where the server told it, else measured here; 0 while there is nothing to measure."""
        usage = self.message.usage
        if usage is not None and usage.tokens_per_second > 0:
            return usage.tokens_per_second
        return (self.tokens - 1) / self.seconds if self.seconds >= SHORTEST_SECONDS else 0.0

    @property
    def first_token_seconds(self) -> float:
        """From the question to the first text; 0 while it is not known."""
        usage = self.message.usage
        if usage is not None and usage.first_token_seconds > 0:
            return usage.first_token_seconds
        if self.asked_at is None or self.first_token_at is None:
            return 0.0
        return self.first_token_at - self.asked_at

    @property
    def seconds(self) -> float:
        """From the first text to the last."""
        if self.first_token_at is None or self.last_token_at is None:
            return 0.0
        return self.last_token_at - self.first_token_at


def advance(answer: Answer, event: AnswerEvent, now: float) -> Answer:
    """The answer after ``event``. Nothing changes an answer that is over."""
    if answer.is_over:
        return answer
    match event:
        case Asked():
            return replace(answer, asked_at=now)
        case Prefill():
            return replace(answer, prefill=event)
        case Delta(text):
            first = now if answer.first_token_at is None else answer.first_token_at
            return replace(
                answer,
                message=replace(answer.message, text=answer.message.text + text),
                tokens=answer.tokens + 1,
                first_token_at=first,
                last_token_at=now,
            )
        case Finished(reason, usage, error):
            problem = error if reason == "error" else None
            return end(answer, _state(event), problem, usage, is_cut=reason == "length")


def end(
    answer: Answer,
    state: MessageState,
    error: str | None = None,
    usage: Usage | None = None,
    *,
    is_cut: bool = False,
) -> Answer:
    """Close an answer with what is known. Without counts from the server, the deltas are the count."""
    if answer.is_over:
        return answer
    if usage is None or not usage.completion_tokens:
        seconds = answer.seconds if answer.seconds >= SHORTEST_SECONDS else 0.0
        prompt = usage.prompt_tokens if usage is not None else answer.prefill.total if answer.prefill else 0
        usage = Usage(prompt_tokens=prompt, completion_tokens=answer.tokens, decode_seconds=seconds)
    if answer.asked_at is not None and answer.first_token_at is not None:
        usage = replace(usage, first_token_seconds=answer.first_token_at - answer.asked_at)
    usage = usage if answer.earlier is None else summed(answer.earlier, usage)
    return replace(answer, message=replace(answer.message, state=state, error=error, usage=usage, is_cut=is_cut))


def summed(earlier: Usage, later: Usage) -> Usage:
    """The statistics of an answer that was made in two parts.

    The prompt stays the first one's: the second one's has the first part of the answer in it, which is counted
    already. Seconds that one part does not tell make the whole unknown, lest the speed be too high. What was waited for
    is the first part's first text.
    """
    silent = any(part.completion_tokens and not part.decode_seconds for part in (earlier, later))
    first = earlier if earlier.prompt_tokens else later
    return Usage(
        prompt_tokens=first.prompt_tokens,
        completion_tokens=earlier.completion_tokens + later.completion_tokens,
        cached_tokens=first.cached_tokens,
        prefill_seconds=earlier.prefill_seconds + later.prefill_seconds,
        decode_seconds=0.0 if silent else earlier.decode_seconds + later.decode_seconds,
        yarn_factor=later.yarn_factor,
        first_token_seconds=earlier.first_token_seconds or later.first_token_seconds,
    )


def _state(finished: Finished) -> MessageState:
    match finished.reason:
        case "error":
            return "error"
        case "cancelled":
            return "stopped"
        case "stop" | "length":
            return "done"
