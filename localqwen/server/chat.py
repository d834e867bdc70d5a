"""``POST /v1/chat/completions``."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from localqwen.engine.engine import Engine, Failed
from localqwen.events import Delta, Finished, Loading, Prefill, Usage
from localqwen.server import sse
from localqwen.server.answer import Answer
from localqwen.server.failures import ApiError, error_object
from localqwen.server.schemas import ChatRequest

EVENTS_HEADER = "localqwen-events"
SHUTTING_DOWN = "The server is shutting down."


def router(engine: Engine) -> APIRouter:
    """The route over ``engine``."""
    routes = APIRouter()

    @routes.post("/v1/chat/completions")
    async def chat_completions(request: Request, body: ChatRequest) -> Response:
        """The next message of a conversation, whole or as a stream of chunks."""
        _require_ready(engine)
        if body.model is not None and body.model != engine.name:
            raise ApiError(
                404,
                f"There is no model {body.model!r} here: this server has {engine.name!r}.",
                code="model_not_found",
                param="model",
            )
        answer = Answer(engine)
        await answer.start(body.chat_messages, body.params)
        completion = Completion(engine.name)
        if body.stream:
            usage = body.stream_options is not None and body.stream_options.include_usage
            extras = request.headers.get(EVENTS_HEADER) == "1"
            return sse.EventStream(completion.stream(answer, usage=usage, extras=extras), answer.close)
        return await _unless_disconnected(request, answer, completion)

    return routes


class Completion:
    """One answer in OpenAI's words."""

    def __init__(self, model: str) -> None:
        self._common = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}

    async def stream(self, answer: Answer, *, usage: bool, extras: bool) -> AsyncIterator[bytes]:
        """Chunks: the role first, then text, then the reason of the end, usage if it is wanted, and ``[DONE]``.

        ``extras`` adds our own events, which tell about the prefill and the speed.
        """
        yield self._chunk({"role": "assistant", "content": ""}, usage)
        async for event in answer.events(sse.HEARTBEAT_SECONDS):
            match event:
                case None:
                    yield sse.HEARTBEAT
                case Prefill() if extras:
                    yield sse.message(asdict(event), "localqwen.prefill")
                case Delta():
                    yield self._chunk({"content": event.text}, usage)
                case Finished() if problem := _problem(event):
                    yield sse.message(error_object(problem, 500))
                case Finished():
                    if extras:
                        yield sse.message(asdict(event.usage), "localqwen.usage")
                    yield self._chunk({}, usage, event.reason)
                    if usage:
                        yield sse.message(self._body("chat.completion.chunk", []) | {"usage": _usage(event.usage)})
        yield sse.DONE

    async def whole(self, answer: Answer) -> dict[str, Any]:
        """The answer in one piece. Raises :class:`ApiError` when the engine fails."""
        text: list[str] = []
        async for event in answer.events(sse.HEARTBEAT_SECONDS):
            if isinstance(event, Delta):
                text.append(event.text)
            if isinstance(event, Finished):
                if problem := _problem(event):
                    raise ApiError(500, problem)
                message = {"role": "assistant", "content": "".join(text)}
                choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": event.reason}
                return self._body("chat.completion", [choice]) | {"usage": _usage(event.usage)}
        raise AssertionError("a job ends with Finished")

    def _body(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._common, "object": kind, "choices": choices}

    def _chunk(self, delta: Mapping[str, str], usage: bool, reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        body = self._body("chat.completion.chunk", [choice])
        # With include_usage every chunk has the field, and only the last a value.
        return sse.message(body | {"usage": None} if usage else body)


async def _unless_disconnected(request: Request, answer: Answer, completion: Completion) -> Response:
    """The whole answer, unless the client goes away first: then the job is cancelled."""
    whole = asyncio.ensure_future(completion.whole(answer))
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({whole, gone}, return_when=asyncio.FIRST_COMPLETED)
        return JSONResponse(whole.result()) if whole.done() else Response(status_code=499)
    finally:
        answer.close()
        whole.cancel()
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _require_ready(engine: Engine) -> None:
    state = engine.state
    if isinstance(state, Loading):
        raise ApiError(503, "The model is still loading: ask again in a moment.", code="loading", retry=1)
    if isinstance(state, Failed):
        raise ApiError(503, str(state.error))


def _problem(finished: Finished) -> str | None:
    # A job whose client went away has no reader; one that is cancelled with a reader, the server itself cancelled.
    return SHUTTING_DOWN if finished.reason == "cancelled" else finished.error


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
