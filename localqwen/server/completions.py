"""``POST /v1/completions``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from localqwen.engine import job as jobs
from localqwen.engine.engine import Engine
from localqwen.events import Delta, Finished, Logprobs
from localqwen.server import failures, generation, sse
from localqwen.server.answer import Answers
from localqwen.server.completion_schema import CompletionRequest
from localqwen.server.generation import Head, TextChunk, finish_reason
from localqwen.server.logprobs import completion_logprobs, text_length


def router(engine: Engine, names: Sequence[str]) -> APIRouter:
    """The route over ``engine``, which is served under ``names``."""
    routes = APIRouter()

    @routes.post("/v1/completions", tags=["OpenAI"], responses=failures.DOCUMENTED)
    async def completions(request: Request, body: CompletionRequest) -> Response:
        """What follows a raw text, whole or as a stream of server-sent events.

        Unlike in a chat, the caller writes the template here: control tokens' texts in the prompt, such as
        `<|im_start|>`, become control tokens. Text of other people belongs into /v1/chat/completions.
        """
        generation.require_ready(engine)
        generation.require_model(body.model, names)
        answers = Answers(engine)
        await answers.start(lambda: _requests(engine, body))
        head = Head("cmpl", "text_completion", names[0])
        prompts, n, logprobs = body.prompts, body.n or 1, body.logprobs is not None
        echoes = [str(prompt) if body.echo else "" for prompt in prompts for _ in range(n)]
        if not body.stream:
            bodies = [CompletionBody(i, echo, logprobs=logprobs) for i, echo in enumerate(echoes)]
            whole = generation.in_one_piece(answers, bodies, head, len(prompts))
            return await generation.unless_disconnected(request, answers, whole)
        usage = body.include_usage
        chunks = [CompletionChunks(head, i, echo, logprobs=logprobs, usage=usage) for i, echo in enumerate(echoes)]
        events = generation.stream(answers, chunks, head, prompts=len(prompts), usage=usage)
        return sse.EventStream(events, answers.close)

    return routes


class CompletionChunks:
    """A choice as chunks of text."""

    def __init__(self, head: Head, index: int, echo: str, *, logprobs: bool, usage: bool) -> None:
        """``echo`` is the text to begin with; with ``usage`` every chunk has the field, without a value."""
        self._head = head
        self._index = index
        self._echo = echo
        self._logprobs = logprobs
        self._offset = 0
        self._usage = {"usage": None} if usage else {}
        self._text = TextChunk(self._body)

    def begin(self) -> bytes:
        """The prompt, if it is wanted."""
        return self._text(self._echo) if self._echo else b""

    def delta(self, delta: Delta) -> bytes:
        """A chunk for more text."""
        if not self._logprobs:
            return self._text(delta.text)
        logprobs = completion_logprobs(delta.logprobs, self._offset)
        self._offset += sum(map(text_length, delta.logprobs))
        return sse.message(self._body(delta.text, logprobs))

    def end(self, finished: Finished) -> bytes:
        """The last chunk."""
        return sse.message(self._body("", reason=finish_reason(finished)))

    def _body(self, text: str, logprobs: dict[str, Any] | None = None, reason: str | None = None) -> dict[str, Any]:
        choice = {"index": self._index, "text": text, "logprobs": logprobs, "finish_reason": reason}
        return self._head.body([choice], **self._usage)


class CompletionBody:
    """A choice in one piece."""

    def __init__(self, index: int, echo: str, *, logprobs: bool) -> None:
        self._index = index
        self._text = [echo]
        self._logprobs: list[Logprobs] | None = [] if logprobs else None

    def delta(self, delta: Delta) -> None:
        """More text."""
        self._text.append(delta.text)
        if self._logprobs is not None:
            self._logprobs += delta.logprobs

    def end(self, finished: Finished) -> dict[str, Any]:
        """The choice."""
        return {
            "index": self._index,
            "text": "".join(self._text),
            "logprobs": None if self._logprobs is None else completion_logprobs(self._logprobs, 0),
            "finish_reason": finish_reason(finished),
        }


def _requests(engine: Engine, body: CompletionRequest) -> list[jobs.Request]:
    tokens = [engine.text_prompt(prompt) if isinstance(prompt, str) else prompt for prompt in body.prompts]
    return [jobs.Request(prompt, params, body.bias, body.logprobs) for prompt in tokens for params in body.params()]
