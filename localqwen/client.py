"""Asks any OpenAI-compatible server: our own, vLLM, llama-server, a hosted one.

Only HTTP happens here, so that the terminal interface starts fast and never shares a process with the engine.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx
from httpx_sse import EventSource, ServerSentEvent

from localqwen.answer_stream import NONSENSE, AnswerStream, error_message, json_object
from localqwen.device_memory import DeviceMemory
from localqwen.endpoint import Endpoint
from localqwen.errors import ServerError, ServerGoneError, ServerRefusedError
from localqwen.events import (
    AnswerEvent,
    Finished,
    LoadEvent,
    Loading,
    Planned,
    Ready,
)
from localqwen.params import ChatMessage, SamplingParams
from localqwen.plan import Plan

# A prompt of 100,000 tokens may take minutes before the first byte comes, so reading has no time limit; that the
# connection is closed when the server dies is what ends the wait.
TIMEOUT = httpx.Timeout(connect=10, read=None, write=60, pool=None)
MODEL_DEFAULTS = SamplingParams()
LOOPBACK = {"localhost", "127.0.0.1", "::1"}
MAX_ERROR_BYTES = 65536
TOKENIZE, MEMORY, DEVICES = "/localqwen/tokenize", "/localqwen/memory", "/localqwen/devices"
EXTRA_SECONDS = 10.0  # for what is only nice to know


@dataclass(frozen=True, slots=True)
class Offered:
    """A model that a server offers; ``window`` is its context in tokens, 0 where the server does not tell."""

    name: str
    window: int = 0


class Client:
    """An asynchronous client of one endpoint; use it as ``async with Client(endpoint) as client``."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Raises :class:`ServerError` for a malformed address or API key."""
        host = endpoint.host
        self.endpoint = endpoint
        self._lacking: set[str] = set()
        headers = {"Localqwen-Events": "1"}
        if endpoint.authorization:
            headers["Authorization"] = endpoint.authorization
        self._http = httpx.AsyncClient(
            base_url=endpoint.url.rstrip("/").removesuffix("/v1"),
            headers=headers,
            timeout=TIMEOUT,
            transport=httpx.AsyncHTTPTransport(uds=str(endpoint.uds)) if endpoint.uds else None,
            # A proxy from the environment must never see what is said to this machine.
            trust_env=endpoint.uds is None and host not in LOOPBACK,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def models(self) -> list[str]:
        """The names of the models that the server offers. Raises as :meth:`offered`."""
        return [model.name for model in await self.offered()]

    async def offered(self) -> list[Offered]:
        """The models that the server offers, as ``/v1/models`` lists them.

        Raises :class:`ServerError` when the server cannot be reached or refuses.
        """
        with _explained(self.endpoint):
            response = await self._http.get("/v1/models")
            if response.is_error:
                raise ServerError(self._refusal(response.status_code, response.content))
            try:
                return [Offered(str(model["id"]), _window(model)) for model in response.json()["data"]]
            except (*NONSENSE, RecursionError):
                raise ServerError(self._not_openai()) from None

    async def stream(
        self,
        messages: Sequence[ChatMessage],
        params: SamplingParams = MODEL_DEFAULTS,
        model: str | None = None,
        *,
        resume: bool = False,
    ) -> AsyncGenerator[AnswerEvent, None]:
        """Ask for the next message, yielding its events as they come.

        With ``resume``, ask for the rest of the last message instead, which is the assistant's: what comes is only
        what follows it. Our own server, vLLM and llama-server can do that.

        The last event is one :class:`Finished`, whatever happens: a server that cannot be reached, refuses or dies
        ends the answer with reason ``"error"``. Closing the generator (``aclose``, or cancelling the task that
        iterates) closes the connection, which stops the server's job; no ``Finished`` comes then. ``model`` defaults
        to the first that the server offers.
        """
        finished = Finished("error", error=f"{_capitalized(self.endpoint.name)} ended the answer early: ask again.")
        try:
            name = model or await self._first_model()
            body = _request_body(messages, params, name)
            if resume:
                body |= {"continue_final_message": True, "add_generation_prompt": False}
            answer = AnswerStream()
            async with self._events("POST", "/v1/chat/completions", body) as events:
                async for event in events:
                    try:
                        read = answer.read(event)
                    except NONSENSE:
                        raise ServerError(self._not_openai()) from None
                    for parsed in read:
                        yield parsed
                    if answer.done:
                        break
            finished = answer.finished() or finished
        except ServerError as error:
            finished = Finished("error", error=str(error), is_lost=isinstance(error, ServerGoneError))
        yield finished

    async def count_tokens(self, said: Sequence[ChatMessage] | str) -> int | None:
        """How many tokens a text takes, or the prompt that a conversation becomes.

        ``None`` when the server does not tell: it is no localqwen server, it still loads, it is gone, or the model's
        template refuses the messages. :func:`localqwen.token_count.estimate` is the way out.
        """
        body = {"text": said} if isinstance(said, str) else {"messages": list(said)}
        answer = await self._extra("POST", TOKENIZE, {**body, "count_only": True})
        count = answer.get("count")
        return count if isinstance(count, int) else None

    async def memory(self) -> tuple[DeviceMemory, ...]:
        """How full the devices are that the model uses; nothing where the server does not tell."""
        answer = await self._extra("GET", MEMORY, None)
        try:
            return tuple(DeviceMemory.from_json(device) for device in answer.get("devices", ()))
        except (LookupError, TypeError):
            return ()

    async def devices(self) -> list[dict[str, Any]]:
        """What models can go to on the server's machine, as `localqwen devices --json`; nothing if not told."""
        devices = (await self._extra("GET", DEVICES, None)).get("devices")
        return [device for device in devices if isinstance(device, dict)] if isinstance(devices, list) else []

    async def attach(self) -> AsyncGenerator[LoadEvent, None]:
        """Follow our own server while it loads its model, and keep it alive while the generator is open.

        Yields :class:`Planned` and :class:`Loading` until :class:`Ready`, then waits until it is closed. Raises
        :class:`ServerError` with the server's words when loading fails, :class:`ServerGoneError` when the server goes
        away, :class:`ServerRefusedError` when it is none of ours.
        """
        async with self._events("GET", "/localqwen/attach", None) as events:
            async for event in events:
                data = json_object(event.data)
                match event.event:
                    case "plan":
                        with suppress(LookupError, TypeError, AttributeError):  # a newer server's, which is no matter
                            yield Planned(Plan.from_json(data["plan"]), tuple(data["taken"].items()))
                    case "loading":
                        done, total = int(data.get("done", 0)), int(data.get("total", 0))
                        yield Loading(float(data.get("progress", 0)), done, total)
                    case "ready":
                        sampling = SamplingParams.from_json(data.get("sampling"))
                        yield Ready(str(data.get("model", "")), int(data.get("context", 0)), sampling)
                    case "error":
                        raise ServerError(str(data.get("message") or "the model could not be loaded"))
        raise ServerGoneError(f"{_capitalized(self.endpoint.name)} went away.")

    async def _extra(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        """What a route says that only our own server has; nothing whatever is wrong with it."""
        if path in self._lacking:
            return {}
        try:
            response = await self._http.request(method, path, json=body, timeout=EXTRA_SECONDS)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            return {}
        if response.status_code in {404, 405, 501}:
            self._lacking.add(path)  # it is not asked again at every key
        return {} if response.is_error else json_object(response.content)

    async def _first_model(self) -> str:
        names = await self.models()
        if not names:
            raise ServerError(f"{_capitalized(self.endpoint.name)} offers no model.")
        return names[0]

    @asynccontextmanager
    async def _events(
        self, method: str, path: str, body: Mapping[str, Any] | None
    ) -> AsyncIterator[AsyncGenerator[ServerSentEvent, None]]:
        """Open a stream of server-sent events; whatever goes wrong with it is a :class:`ServerError`."""
        with _explained(self.endpoint):
            async with self._http.stream(method, path, json=body, headers={"Accept": "text/event-stream"}) as response:
                if response.is_error:
                    raise ServerRefusedError(self._refusal(response.status_code, await _read_limited(response)))
                if "text/event-stream" not in response.headers.get("content-type", ""):
                    raise ServerRefusedError(self._not_openai())
                events = EventSource(response).aiter_sse()
                try:
                    yield events
                finally:
                    await events.aclose()

    def _not_openai(self) -> str:
        return f"{_capitalized(self.endpoint.name)} does not answer as OpenAI's API does: check the address."

    def _refusal(self, status: int, content: bytes) -> str:
        """An error response in words: the server's own, if it sent any."""
        message = error_message(json_object(content))
        if message and self.endpoint.uds:
            return message  # our own server's errors are whole sentences
        if not message and status in {401, 403}:
            message = "it wants an API key (--api-key)"
        if not message and status == 404:
            message = "it has no OpenAI API at this address"
        reason = (message or f"HTTP status {status}").strip().rstrip(".")
        return f"{_capitalized(self.endpoint.name)} refused: {reason}."


@contextmanager
def _explained(endpoint: Endpoint) -> Iterator[None]:
    """Turn the HTTP library's exceptions into sentences."""
    name = _capitalized(endpoint.name)
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        remedy = "start it again" if endpoint.uds else "check the address, and that it is running"
        raise ServerGoneError(f"{name} cannot be reached: {remedy}.") from error
    except httpx.TimeoutException as error:
        raise ServerError(f"{name} does not take the request: try again later.") from error
    except httpx.TransportError as error:
        raise ServerGoneError(f"{name} went away in the middle of its work.") from error
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        # A ValueError: what is asked is no JSON, for instance for a setting that is no number.
        raise ServerError(f"{name} cannot be asked: {str(error).rstrip('.')}.") from error


def _request_body(messages: Sequence[ChatMessage], params: SamplingParams, model: str) -> dict[str, Any]:
    # What is not asked for stays out of the request: other servers reject parameters that they do not know.
    named = {name: getattr(params, name) for name in params.__slots__ if name != "stop"}
    return {
        "model": model,
        "messages": list(messages),
        "stream": True,
        "stream_options": {"include_usage": True},
        **{name: value for name, value in named.items() if value is not None},
        **({"stop": list(params.stop)} if params.stop else {}),
    }


def _window(model: Mapping[str, Any]) -> int:
    """The context that a model list tells: vLLM's and our own field, or llama-server's."""
    meta = model.get("meta")
    size = model.get("max_model_len") or (meta.get("n_ctx") if isinstance(meta, Mapping) else None)
    return size if isinstance(size, int) and size > 0 else 0


async def _read_limited(response: httpx.Response) -> bytes:
    content = b""
    async for block in response.aiter_bytes():
        content += block
        if len(content) > MAX_ERROR_BYTES:
            break
    return content


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]
