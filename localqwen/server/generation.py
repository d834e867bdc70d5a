"""What the routes that generate have in common: from the jobs' events to a stream, or to one body."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from fastapi import Request
from starlette.responses import Response

from localqwen.engine.engine import Engine, Failed
from localqwen.events import AnswerEvent, Delta, Finished, Loading, Prefill, Usage
from localqwen.server import sse
from localqwen.server.answer import Answers, Batch
from localqwen.server.failures import ApiError, error_object
from localqwen.server.responses import Json

SHUTTING_DOWN = "The server is shutting down."


class ChoiceStream(Protocol):
    """One choice as chunks of a stream: bytes for the wire, which may be none or several chunks."""

    def begin(self) -> bytes:
        """What comes before the first token."""

    def delta(self, delta: Delta) -> bytes:
        """More text."""

    def end(self, finished: Finished) -> bytes:
        """What was held back, and the reason of the end."""


class ChoiceBody(Protocol):
    """One choice in one piece."""

    def delta(self, delta: Delta) -> None:
        """More text."""

    def end(self, finished: Finished) -> dict[str, Any]:
        """The choice."""


class Head:
    """What all chunks of an answer say, or its one body."""

    def __init__(self, prefix: str, kind: str, model: str) -> None:
        self._common = {
            "id": f"{prefix}-{uuid.uuid4().hex}",
            "object": kind,
            "created": int(time.time()),
            "model": model,
        }

    def body(self, choices: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
        """A chunk or body with these choices."""
        return {**self._common, "choices": choices, **more}


class TextChunk:
    """A chunk in which nothing varies but a text, so that the rest is written once and not for every token."""

    def __init__(self, make: Callable[[str], Mapping[str, Any]]) -> None:
        mark = uuid.uuid4().hex
        before, _, after = sse.message(make(mark)).partition(f'"{mark}"'.encode())
        self._before, self._after = before, after

    def __call__(self, text: str) -> bytes:
        """The chunk on the wire."""
        return self._before + json.dumps(text).encode() + self._after


async def stream(
    answers: Answers,
    choices: Sequence[ChoiceStream],
    head: Head,
    *,
    prompts: int = 1,
    usage: bool = False,
    extras: bool = False,
) -> AsyncIterator[bytes]:
    """The chunks of the answers to ``prompts`` prompts, the usage if it is wanted, and ``[DONE]``.

    What waits at the same time is sent at once, neighbouring texts of an answer as one chunk.

    ``extras`` adds our own events, which tell about the prefill and the speed of the first choice.
    """
    used: dict[int, Usage] = {}
    if begin := b"".join(choice.begin() for choice in choices):
        yield begin
    async for batch in answers.batches(sse.HEARTBEAT_SECONDS):
        wire: list[bytes] = []
        for index, event in joined(batch):
            match event:
                case Delta():
                    wire.append(choices[index].delta(event))
                case Prefill() if extras and index == 0:
                    wire.append(sse.message(asdict(event), "localqwen.prefill"))
                case Finished() if problem := _problem(event):
                    yield b"".join([*wire, sse.message(error_object(problem, 500)), sse.DONE])
                    return
                case Finished():
                    used[index] = event.usage
                    told = sse.message(_told(event.usage), "localqwen.usage") if extras and index == 0 else b""
                    wire += [told, choices[index].end(event)]
        if data := b"".join(wire) if batch else sse.HEARTBEAT:
            yield data
    last = sse.message(head.body([], usage=usage_object(used, len(choices) // prompts))) if usage else b""
    yield last + sse.DONE


def joined(batch: Batch) -> list[tuple[int, AnswerEvent]]:
    """The events with neighbouring texts of the same answer as one, unless each has log probabilities of its own."""
    events: list[tuple[int, AnswerEvent]] = []
    for index, event in batch:
        if events and isinstance(event, Delta) and not event.logprobs:
            before, last = events[-1]
            if before == index and isinstance(last, Delta) and not last.logprobs:
                events[-1] = index, Delta(last.text + event.text)
                continue
        events.append((index, event))
    return events


async def in_one_piece(answers: Answers, choices: Sequence[ChoiceBody], head: Head, prompts: int = 1) -> dict[str, Any]:
    """The answers to ``prompts`` prompts in one piece. Raises :class:`ApiError` when the engine fails."""
    used: dict[int, Usage] = {}
    ended: dict[int, dict[str, Any]] = {}
    async for batch in answers.batches(sse.HEARTBEAT_SECONDS):
        for index, event in batch:
            if isinstance(event, Delta):
                choices[index].delta(event)
            elif isinstance(event, Finished):
                if problem := _problem(event):
                    raise ApiError(500, problem)
                used[index] = event.usage
                ended[index] = choices[index].end(event)
    return head.body([ended[i] for i in sorted(ended)], usage=usage_object(used, len(choices) // prompts))


class Closing(Protocol):
    """Work that can be given up."""

    def close(self) -> None:
        """Give up what is not done."""


async def unless_disconnected(request: Request, work: Closing, body: Coroutine[Any, Any, dict[str, Any]]) -> Response:
    """``body`` as JSON, unless the client goes away first: then the ``work`` for it is given up."""
    whole = asyncio.ensure_future(body)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({whole, gone}, return_when=asyncio.FIRST_COMPLETED)
        return Json(whole.result()) if whole.done() else Response(status_code=499)
    finally:
        work.close()
        whole.cancel()
        gone.cancel()


def require_ready(engine: Engine) -> None:
    """Raise :class:`ApiError` unless the model is loaded."""
    state = engine.state
    if isinstance(state, Loading):
        raise ApiError(503, "The model is still loading: ask again in a moment.", code="loading", retry=1)
    if isinstance(state, Failed):
        raise ApiError(503, str(state.error))


def require_model(name: str | None, names: Sequence[str]) -> None:
    """Raise :class:`ApiError` unless ``name`` is one of the served names, or none is asked for."""
    if name is not None and name not in names:
        served = " or ".join(map(repr, names))
        raise ApiError(
            404, f"There is no model {name!r} here: this server has {served}.", code="model_not_found", param="model"
        )


def _told(usage: Usage) -> dict[str, Any]:
    """Tokens and seconds as a client of ours reads them; the wait for the first token is measured there."""
    return {name: value for name, value in asdict(usage).items() if name != "first_token_seconds"}


def usage_object(used: Mapping[int, Usage], choices: int) -> dict[str, Any]:
    """The tokens of all jobs, where ``choices`` following ones answer the same prompt, which counts once."""
    groups = [[used[i] for i in sorted(used) if i // choices == group] for group in {i // choices for i in used}]
    prompt = sum(group[0].prompt_tokens for group in groups)
    completion = sum(usage.completion_tokens for usage in used.values())
    # Later choices find in the cache what the first has put there; what counts is what was there before.
    cached = sum(min(usage.cached_tokens for usage in group) for group in groups)
    return usage_numbers(prompt, completion, cached)


def usage_numbers(prompt: int, completion: int, cached: int) -> dict[str, Any]:
    """OpenAI's usage object."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def finish_reason(finished: Finished, calls: int = 0) -> str:
    """OpenAI's word for the end of a choice in which the model made ``calls`` tool calls."""
    return "tool_calls" if calls and finished.reason == "stop" else finished.reason


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _problem(finished: Finished) -> str | None:
    # A job whose client went away has no reader; one that is cancelled with a reader, the server itself cancelled.
    return SHUTTING_DOWN if finished.reason == "cancelled" else finished.error
