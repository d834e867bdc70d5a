"""Where answers come from: our own server process, which must be started and watched, or somebody else's server.

The rest of the app sees one :class:`Backend`: a state to show, and a client to wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from localqwen.errors import LocalqwenError, ServerError
from localqwen.events import AnswerEvent, Finished, LoadEvent, Loading, Planned, Ready
from localqwen.params import ChatMessage, SamplingParams
from localqwen.serve_options import ServeOptions

if TYPE_CHECKING:
    from localqwen.client import Endpoint

# A dying server closes all its connections at once; this is how long the second one may take to be noticed.
NOTICE_SECONDS = 0.3


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


class Listener(Protocol):
    """Whom a connection tells what happens to it."""

    def loaded(self, client: AnswerClient, event: LoadEvent) -> None:
        """The model is loading, or ready for questions through ``client``."""

    def lost(self) -> None:
        """The server has gone; why is being found out."""


class Connection(Protocol):
    """One way to reach a model."""

    @property
    def name(self) -> str:
        """The model or the address, until the server tells its own name."""
        ...

    @property
    def address(self) -> str | None:
        """Where what is typed goes to; ``None`` when it stays on this machine."""
        ...

    async def live(self, listener: Listener) -> str:
        """Connect, tell what happens, and return only when the server has gone: the reason, as a sentence."""
        ...


class LocalServer:
    """Our own server process. The attached connection keeps it alive and tells when it dies."""

    address = None

    def __init__(self, model: Path, name: str, options: ServeOptions | None = None) -> None:
        """``model`` is a GGUF file."""
        self.name = name
        self._model = model
        self._options = options

    async def live(self, listener: Listener) -> str:
        """Start the process or join a running one, and stay attached."""
        # The HTTP library takes a fifth of the time to the first paint, and is needed only now.
        await asyncio.to_thread(import_module, "localqwen.supervisor")
        from localqwen.client import Client
        from localqwen.supervisor import Supervisor

        supervisor = Supervisor(self._model, self._options, self.name)
        endpoint = await supervisor.start()
        is_loading = True
        async with Client(endpoint) as client:
            try:
                async for event in client.attach():
                    is_loading = not isinstance(event, Ready)
                    listener.loaded(client, event)
            except ServerError as error:
                # A server that says why it cannot load knows better than its exit status.
                if is_loading and "went away" not in str(error):
                    return str(error)
        listener.lost()
        return await asyncio.to_thread(supervisor.failure)


class RemoteServer:
    """Any OpenAI-compatible server; there is nothing to start and nothing to watch."""

    def __init__(self, endpoint: Endpoint, model: str | None = None) -> None:
        self._endpoint = endpoint
        self._model = model
        self.name = model or endpoint.url
        self.address = endpoint.url

    async def live(self, listener: Listener) -> str:
        """Ask which models there are; the connection is then considered good until an answer fails."""
        from localqwen.client import Client

        async with Client(self._endpoint) as client:
            names = await client.models()
            model = self._model or (names[0] if names else None)
            if model is None:
                return f"{self._endpoint.url} offers no model: start one there, or name it."
            listener.loaded(client, Ready(model, 0))
            await asyncio.Event().wait()
        raise AssertionError("unreachable")


class Backend:
    """The connection's state, and its client for those who wait for it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.state: State = Starting()
        self.planned: Planned | None = None  # where our own server puts the model
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
            reason = await self.connection.live(self)
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
            await self._next_change()

    async def stream(self, history: list[ChatMessage], params: SamplingParams) -> AsyncGenerator[AnswerEvent, None]:
        """The events of the next answer, once there is a model.

        When the server dies in the middle, the answer's error is why it died and not that the connection broke.
        """
        client = await self.client()
        events = client.stream(history, params, self.model)
        try:
            async for event in events:
                if isinstance(event, Finished) and event.reason == "error" and self.connection.address is None:
                    reason = await self._reason_of_death()
                    yield replace(event, error=reason) if reason else event
                else:
                    yield event
        finally:
            await events.aclose()

    def restarting(self) -> None:
        """A new life is about to begin: forget the last one's failure."""
        self._set(Starting())

    def loaded(self, client: AnswerClient, event: LoadEvent) -> None:
        """See :class:`Listener`."""
        self._client = client
        if isinstance(event, Planned):
            self.planned = event
        else:
            self._set(event)

    def lost(self) -> None:
        """See :class:`Listener`."""
        self._client = None
        self._changed.set()

    async def _reason_of_death(self) -> str | None:
        """Why the server died; ``None`` for one that lives, which is known after a moment."""
        with suppress(TimeoutError):
            async with asyncio.timeout(NOTICE_SECONDS):
                while self._client is not None:
                    await self._next_change()
        if self._client is not None:
            return None
        while not isinstance(self.state, Failed):
            await self._next_change()
        return self.state.reason

    async def _next_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _set(self, state: State) -> None:
        self.state = state
        self._changed.set()
        self.on_change()
