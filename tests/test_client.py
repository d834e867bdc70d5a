"""The client against our server, and against servers that behave differently."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest

from localqwen.client import Client
from localqwen.endpoint import Endpoint
from localqwen.errors import ServerError, ServerGoneError
from localqwen.events import AnswerEvent, Delta, Finished, Loading, Planned, Prefill, Ready, Usage
from localqwen.params import ChatMessage, SamplingParams
from tests.server.running import Running, running_server, wait_until

JAPAN: list[ChatMessage] = [{"role": "user", "content": "What is the capital of Japan?"}]
STORY: list[ChatMessage] = [{"role": "user", "content": "Write a very long story about a lighthouse keeper."}]

Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(scope="module")
def server(demo_gguf: Path) -> Iterator[Running]:
    with running_server(demo_gguf) as running:
        yield running


def against(handler: Handler, url: str = "http://other.example/v1") -> Client:
    """A client of a server that only exists in the test."""
    client = Client(Endpoint(url, api_key="secret"))
    client._http._transport = httpx.MockTransport(handler)
    client._http._mounts = {}
    return client


def chunk(text: str, reason: str | None = None) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]})


def sse(*data: str) -> httpx.Response:
    return httpx.Response(
        200, text="".join(f"data: {part}\n\n" for part in data), headers={"Content-Type": "text/event-stream"}
    )


async def events_of(client: Client, params: SamplingParams | None = None, model: str | None = "m") -> list[AnswerEvent]:
    async with client:
        return [event async for event in client.stream(JAPAN, params or SamplingParams(), model)]


def text_of(events: list[AnswerEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
async def test_our_server(server: Running, suffix: str) -> None:
    async with Client(Endpoint(server.url + suffix)) as client:
        assert await client.models() == ["demo"]
        events = [event async for event in client.stream(JAPAN, SamplingParams(temperature=0))]
    assert "Tokyo" in text_of(events)
    *_, last = events
    assert isinstance(last, Finished)
    assert last.reason == "stop"
    assert last.usage.prompt_tokens > 0
    assert last.usage.tokens_per_second > 0
    assert any(isinstance(event, Prefill) for event in events)
    assert sum(isinstance(event, Finished) for event in events) == 1


async def test_our_servers_refusal_is_the_answers_end(server: Running) -> None:
    async with Client(Endpoint(server.url)) as client:
        (event,) = [event async for event in client.stream([{"role": "user", "content": "word " * 9000}])]
    assert isinstance(event, Finished)
    assert event.reason == "error"
    assert "8192" in str(event.error)


async def test_closing_the_stream_stops_the_job(server: Running) -> None:
    async with Client(Endpoint(server.url)) as client, aclosing(client.stream(STORY)) as events:
        async for event in events:
            if isinstance(event, Delta):
                break
    wait_until(lambda: not server.engine.open_jobs, "the engine is idle")
    assert server.jobs[-1].cancelled.is_set()


async def test_attach_to_our_server(server: Running) -> None:
    async with Client(Endpoint(server.url)) as client, aclosing(client.attach()) as states:
        planned = await anext(states)
        assert isinstance(planned, Planned)
        assert planned.plan.context == 8192
        ready = await anext(states)
        assert isinstance(ready, Ready)
        assert (ready.model, ready.context) == ("demo", 8192)
        assert ready == server.engine.state
        assert ready.sampling.temperature is not None


@pytest.mark.parametrize(
    "told", [None, [], {"temperature": "hot", "seed": True, "stop": ["x"], "other": 1, "top_p": 0.5}]
)
def test_of_sampling_from_elsewhere_numbers_count(told: object) -> None:
    assert SamplingParams.from_json(told) == SamplingParams(top_p=0.5 if told else None)


async def test_attach_ends_with_the_server(demo_gguf: Path) -> None:
    async with AsyncExit(demo_gguf) as (server, client), aclosing(client.attach()) as states:
        async for state in states:
            if isinstance(state, Ready):
                break
        server.server.leave()
        with pytest.raises(ServerGoneError, match="went away"):
            await anext(states)


class AsyncExit:
    """A server of its own and a client of it."""

    def __init__(self, gguf: Path) -> None:
        self._running = running_server(gguf, context=256)

    async def __aenter__(self) -> tuple[Running, Client]:
        server = self._running.__enter__()
        self._client = Client(Endpoint(server.url))
        return server, self._client

    async def __aexit__(self, *error: object) -> None:
        await self._client.__aexit__(None, None, None)
        self._running.__exit__(None, None, None)


async def test_only_what_is_asked_for_is_sent() -> None:
    sent: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Bearer secret"
        assert request.url == "http://other.example/v1/chat/completions"
        sent.append(json.loads(request.content))
        return sse(chunk("hi", "stop"), "[DONE]")

    await events_of(against(answer))
    await events_of(against(answer), SamplingParams(top_k=5, temperature=0, stop=("x",)))
    base = {"model": "m", "messages": JAPAN, "stream": True, "stream_options": {"include_usage": True}}
    assert sent == [base, {**base, "top_k": 5, "temperature": 0, "stop": ["x"]}]


async def test_an_answer_is_continued_only_when_that_is_asked_for() -> None:
    sent: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        return sse(chunk("hi", "stop"), "[DONE]")

    async with against(answer) as client:
        async for _ in client.stream(JAPAN, model="m"):
            pass
        async for _ in client.stream(JAPAN, model="m", resume=True):
            pass
    assert "continue_final_message" not in sent[0]
    assert sent[1] == {**sent[0], "continue_final_message": True, "add_generation_prompt": False}


async def test_our_server_continues_an_answer(server: Running) -> None:
    begun: list[ChatMessage] = [*JAPAN, {"role": "assistant", "content": "The capital of Japan is"}]
    async with Client(Endpoint(server.url)) as client:
        events = [event async for event in client.stream(begun, SamplingParams(temperature=0), resume=True)]
    assert text_of(events).startswith(" Tokyo")
    assert isinstance(events[-1], Finished)
    assert events[-1].usage.yarn_factor == 1


async def test_our_server_counts_tokens_and_tells_memory(server: Running) -> None:
    async with Client(Endpoint(server.url)) as client:
        assert await client.count_tokens(JAPAN) == len(server.engine.chat_prompt(JAPAN))
        assert await client.count_tokens("Tokyo") == len(server.engine.text_prompt("Tokyo", control=False))
        assert await client.count_tokens([]) is None
        assert [device.kind for device in await client.memory()][-1] == "cpu"


async def test_a_server_without_our_routes_is_asked_for_them_once() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(404, json={"detail": "Not Found"})

    async with against(answer) as client:
        assert [await client.count_tokens(JAPAN), await client.count_tokens("x")] == [None, None]
        assert [await client.memory(), await client.memory()] == [(), ()]
    assert asked == ["/localqwen/tokenize", "/localqwen/memory"]


async def test_a_server_that_is_gone_or_odd_counts_nothing() -> None:
    answers = iter([httpx.Response(503), httpx.Response(200, text="no"), httpx.Response(200, json={"devices": [7]})])
    async with against(lambda _: next(answers)) as client:
        assert await client.count_tokens("x") is None
        assert await client.count_tokens("x") is None
        assert await client.memory() == ()
    async with Client(Endpoint("http://127.0.0.1:9")) as client:
        assert await client.count_tokens("x") is None


async def test_a_foreign_stream() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": None}
    role = json.dumps({"choices": [{"delta": {"role": "assistant", "content": None}, "finish_reason": None}]})
    last = json.dumps({"choices": [], "usage": usage})
    text = "a\u2028b\u0085c"  # line breaks to Python, but not to the protocol
    raw = json.dumps({"choices": [{"delta": {"content": text}}]}, ensure_ascii=False)
    events = await events_of(against(lambda request: sse(role, raw, chunk("!", "length"), last, "[DONE]")))
    assert events == [Delta(text), Delta("!"), Finished("length", Usage(3, 2))]


async def test_the_first_model_is_the_default() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": [{"id": "one"}, {"id": "two"}]})
        assert json.loads(request.content)["model"] == "one"
        return sse(chunk("hi", "stop"), "[DONE]")

    assert text_of(await events_of(against(answer), model=None)) == "hi"


BROKEN = {
    "error object": (lambda _: httpx.Response(429, json={"error": {"message": "Slow down."}}), "refused: Slow down."),
    "vllm error": (
        lambda _: httpx.Response(400, json={"object": "error", "message": "Too long"}),
        "refused: Too long.",
    ),
    "fastapi error": (lambda _: httpx.Response(400, json={"detail": "No"}), "refused: No."),
    "no key": (lambda _: httpx.Response(401, text="<html>"), "wants an API key"),
    "no api": (lambda _: httpx.Response(404, text="<html>"), "no OpenAI API"),
    "no words": (lambda _: httpx.Response(502, text="<html>"), "HTTP status 502"),
    "no stream": (lambda _: httpx.Response(200, text="<html>"), "does not answer as OpenAI's API does"),
    "odd json": (lambda _: sse('{"choices": [1]}'), "does not answer as OpenAI's API does"),
    "odd usage": (lambda _: sse('{"usage": 7}'), "does not answer as OpenAI's API does"),
    "error in the stream": (lambda _: sse(chunk("hi"), '{"error": {"message": "Out of memory."}}'), "Out of memory."),
    "cut off": (lambda _: sse(chunk("hi")), "ended the answer early"),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_a_server_that_fails(case: str) -> None:
    handler, words = BROKEN[case]
    *_, last = await events_of(against(handler))
    assert isinstance(last, Finished)
    assert last.reason == "error"
    assert words in str(last.error)
    assert str(last.error).endswith(".")


async def test_a_server_that_dies_in_the_middle() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield f"data: {chunk('half')}\n\n".encode()
        raise httpx.RemoteProtocolError("peer closed connection")

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=body(), headers={"Content-Type": "text/event-stream"})

    events = await events_of(against(answer))
    assert events[0] == Delta("half")
    assert isinstance(events[-1], Finished)
    assert "went away" in str(events[-1].error)


async def test_nobody_there() -> None:
    client = Client(Endpoint("http://127.0.0.1:9/v1"))
    async with client:
        with pytest.raises(ServerGoneError, match=r"The server at http://127\.0\.0\.1:9/v1 cannot be reached: check"):
            await client.models()
        (event,) = [event async for event in client.stream(JAPAN)]
    assert isinstance(event, Finished)
    assert event.reason == "error"


async def test_a_socket_nobody_listens_on(tmp_path: Path) -> None:
    async with Client(Endpoint(uds=tmp_path / "none.sock")) as client:
        with pytest.raises(ServerGoneError, match="server process cannot be reached"):
            await anext(client.attach())


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://", ""])
def test_no_address(url: str) -> None:
    with pytest.raises(ServerError, match="is no server address"):
        Client(Endpoint(url))


async def test_attach_reads_the_loading() -> None:
    stream = (
        ': hello\n\nevent: loading\ndata: {"progress": 0.5}\n\n'
        'event: loading\ndata: {"progress": 0.75, "done": 3, "total": 4}\n\n'
        'event: unheard_of\ndata: {}\n\nevent: error\ndata: {"message": "Too big."}\n\n'
    )
    client = against(lambda _: httpx.Response(200, text=stream, headers={"Content-Type": "text/event-stream"}))
    async with client, aclosing(client.attach()) as states:
        assert await anext(states) == Loading(0.5)
        assert await anext(states) == Loading(0.75, 3, 4)
        with pytest.raises(ServerError, match=r"^Too big\.$"):
            await anext(states)


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": "12", "completion_tokens": "3"},
        {"prompt_tokens": [1], "completion_tokens": True, "prompt_tokens_details": "none"},
        {"prompt_tokens": 10**400, "completion_tokens": -1, "prompt_tokens_details": {"cached_tokens": "all"}},
    ],
)
async def test_counts_that_are_no_numbers_are_unknown(usage: dict[str, Any]) -> None:
    stream = sse(chunk("Hello", "stop"), json.dumps({"choices": [], "usage": usage}), "[DONE]")
    assert await events_of(against(lambda _: stream)) == [Delta("Hello"), Finished("stop", Usage())]


async def test_a_line_that_is_nested_too_deeply_is_nothing() -> None:
    stream = sse("[" * 200_000, chunk("Hello", "stop"), "[DONE]")
    assert text_of(await events_of(against(lambda _: stream))) == "Hello"


async def test_numbers_that_are_too_large_are_no_answer() -> None:
    text = 'event: localqwen.prefill\ndata: {"done": 1e999, "total": 1}\n\n'
    odd = httpx.Response(200, text=text, headers={"Content-Type": "text/event-stream"})
    [last] = await events_of(against(lambda _: odd))
    assert isinstance(last, Finished)
    assert "does not answer as OpenAI's API does" in (last.error or "")


async def test_a_request_that_cannot_be_written_is_the_answers_error() -> None:
    [last] = await events_of(against(lambda _: sse("[DONE]")), SamplingParams(temperature=float("nan")))
    assert isinstance(last, Finished)
    assert last.reason == "error"
    assert "cannot be asked" in (last.error or "")
