"""Where answers come from: our own server process, which must be started and watched, or somebody else's server.

The rest of the app sees one :class:`Backend`: a state to show, and a client to wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from localqwen.client import Client, Endpoint
from localqwen.errors import LocalqwenError, ServerError
from localqwen.events import AnswerEvent, LoadEvent, Loading, Ready
from localqwen.params import ChatMessage, SamplingParams
from localqwen.supervisor import ServeOptions, Supervisor


@dataclass(frozen=True, slots=True)
class Starting:
    """Nothing is known yet."""


@dataclass(frozen=True, slots=True)
class Failed:
    """There is no model to talk to; ``reason`` is a sentence. The next message tries again."""

    reason: str


State: TypeAlias = Starting | Loading | Ready | Failed


class AnswerClient(Protocol):
    """What the app needs of :class:`localqwen.client.Client`."""

    def stream(
        self, messages: Sequence[ChatMessage], params: SamplingParams = ..., model: str | None = ...
    ) -> AsyncGenerator[AnswerEvent, None]:
        """The events of one answer."""
        ...


Report: TypeAlias = Callable[[AnswerClient, LoadEvent], None]


class Connection(Protocol):
    """One way to reach a model."""

    @property
    def name(self) -> str:
        """The model or the address, until the server tells its own name."""
        ...

    @property
    def is_local(self) -> bool:
        """Whether what is typed stays on this machine."""
        ...

    async def live(self, report: Report) -> str:
        """Connect, report what happens, and return only when the server has gone: the reason, as a sentence."""
        ...


class LocalServer:
    """Our own server process. The attached connection keeps it alive and tells when it dies."""

    is_local = True

    def __init__(self, model: Path, name: str, options: ServeOptions) -> None:
        self.name = name
        self._model = model
        self._options = options

    async def live(self, report: Report) -> str:
        """Start the process or join a running one, and stay attached."""
        supervisor = Supervisor(self._model, self._options, self.name)
        endpoint = await supervisor.start()
        is_loading = True
        async with Client(endpoint) as client:
            try:
                async for event in client.attach():
                    is_loading = not isinstance(event, Ready)
                    report(client, event)
            except ServerError as error:
                # A server that says why it cannot load knows better than its exit status.
                if is_loading and "went away" not in str(error):
                    return str(error)
        return await asyncio.to_thread(supervisor.failure)


class RemoteServer:
    """Any OpenAI-compatible server; there is nothing to start and nothing to watch."""

    def __init__(self, endpoint: Endpoint, model: str | None = None) -> None:
        self._endpoint = endpoint
        self._model = model
        self.name = model or endpoint.url
        self.is_local = False

    async def live(self, report: Report) -> str:
        """Ask which models there are; the connection is then considered good until an answer fails."""
        async with Client(self._endpoint) as client:
            names = await client.models()
            model = self._model or (names[0] if names else None)
            if model is None:
                return f"{self._endpoint.url} offers no model: start one there, or name it."
            report(client, Ready(model, 0))
            await asyncio.Event().wait()
        raise AssertionError("unreachable")


class Backend:
    """The connection's state, and its client for those who wait for it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.state: State = Starting()
        self.on_change: Callable[[], None] = lambda: None
        self._client: AnswerClient | None = None
        self._changed = asyncio.Event()

    @property
    def model(self) -> str:
        """The model's name, as far as it is known."""
        return self.state.model if isinstance(self.state, Ready) and self.state.model else self.connection.name

    async def run(self) -> None:
        """Live one life of the connection; its end is a state and no exception."""
        self._set(Starting())
        try:
            reason = await self.connection.live(self._report)
        except LocalqwenError as error:
            reason = str(error)
        self._client = None
        self._set(Failed(reason))

    async def client(self) -> AnswerClient:
        """Wait until there is a model to ask.

        Raises:
            ServerError: There will be none, with the reason.
        """
        while True:
            if isinstance(self.state, Ready) and self._client is not None:
                return self._client
            if isinstance(self.state, Failed):
                raise ServerError(self.state.reason)
            self._changed.clear()
            await self._changed.wait()

    async def stream(self, history: list[ChatMessage], params: SamplingParams) -> AsyncGenerator[AnswerEvent, None]:
        """The events of the next answer, once there is a model."""
        client = await self.client()
        events = client.stream(history, params, self.model)
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()

    def _report(self, client: AnswerClient, event: LoadEvent) -> None:
        self._client = client
        self._set(event)

    def _set(self, state: State) -> None:
        self.state = state
        self._changed.set()
        self.on_change()
