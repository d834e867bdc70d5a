"""``POST /v1/chat/completions``."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request
from starlette.responses import Response

from localqwen.engine import constraint
from localqwen.engine import job as jobs
from localqwen.engine.engine import Engine
from localqwen.server import failures, generation, sse, tools
from localqwen.server.answer import Answers
from localqwen.server.chat_choice import ChatBody, ChatChunks
from localqwen.server.chat_schema import ChatRequest, JsonObjectFormat, JsonSchemaFormat, NamedChoice
from localqwen.server.tool_calls import ToolCallParser

EVENTS_HEADER = "localqwen-events"


def router(engine: Engine, names: Sequence[str]) -> APIRouter:
    """The route over ``engine``, which is served under ``names``."""
    routes = APIRouter()

    @routes.post("/v1/chat/completions", tags=["OpenAI"], responses=failures.DOCUMENTED)
    async def chat_completions(request: Request, body: ChatRequest) -> Response:
        """The next message of a conversation, whole or as a stream of server-sent events.

        What is not given of the sampling comes from the model's file. Text in messages never becomes a control token.
        """
        generation.require_ready(engine)
        generation.require_model(body.model, names)
        answers = Answers(engine)
        await answers.start(lambda: _requests(engine, body))
        choices = range(body.n or 1)
        parsers = [ToolCallParser() if body.shown_tools else None for _ in choices]
        logprobs = body.top is not None
        if not body.stream:
            head = generation.Head("chatcmpl", "chat.completion", names[0])
            bodies = [ChatBody(i, parsers[i], logprobs=logprobs) for i in choices]
            return await generation.unless_disconnected(
                request, answers, generation.in_one_piece(answers, bodies, head)
            )
        usage = body.include_usage
        head = generation.Head("chatcmpl", "chat.completion.chunk", names[0])
        chunks = [ChatChunks(head, i, parsers[i], logprobs=logprobs, usage=usage) for i in choices]
        extras = request.headers.get(EVENTS_HEADER) == "1"
        return sse.EventStream(generation.stream(answers, chunks, head, usage=usage, extras=extras), answers.close)

    return routes


def _requests(engine: Engine, body: ChatRequest) -> list[jobs.Request]:
    begun = None
    if body.continue_final_message:
        prompt, begun = engine.resumed_prompt(body.chat_messages)
    else:
        prompt = engine.chat_prompt(body.chat_messages)
    # After one call there is nothing more to say. (The parser does not miss the tag that ends the answer.)
    stops = (tools.CLOSE,) if body.shown_tools and body.parallel_tool_calls is False else ()
    grammar = _grammar(body)
    return [
        jobs.Request(prompt, params, body.bias, body.top, grammar, begun) for params in body.params(more_stops=stops)
    ]


def _grammar(body: ChatRequest) -> constraint.Grammar | None:
    wanted = body.response_format
    shown = body.shown_tools
    if not shown:
        match wanted:
            case JsonObjectFormat():
                return constraint.json_object()
            case JsonSchemaFormat():
                return constraint.json_schema(wanted.json_schema.definition)
        return None
    answer = {"type": "object"} if isinstance(wanted, JsonObjectFormat) else None
    if isinstance(wanted, JsonSchemaFormat):
        answer = wanted.json_schema.definition
    parallel = body.parallel_tool_calls is not False
    named = body.tool_choice
    if isinstance(named, NamedChoice):
        shown = [tool for tool in shown if tool.name == named.function.name]
        parallel = False
    forced = named == "required" or isinstance(named, NamedChoice)
    text = tools.grammar(shown, parallel=parallel, forced=forced, answer=answer)
    return None if text is None else constraint.lark(text)
