"""Where answers come from, as the rest of the app sees it: a state to show, and a model to ask once there is one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from localqwen.device_memory import DeviceMemory
from localqwen.errors import LocalqwenError, ServerError
from localqwen.events import AnswerEvent, Finished, LoadEvent, Loading, Planned, Ready
from localqwen.pace import Pace
from localqwen.params import ChatMessage, SamplingParams
from localqwen.token_count import TokenCount, estimate
from tui.connections import AnswerClient, Connection, Listener, LocalServer, RemoteServer
from tui.meters import Watch

__all__ = [
    "AnswerClient",
    "Asking",
    "Backend",
    "Connection",
    "Failed",
    "Listener",
    "LocalServer",
    "RemoteServer",
    "Starting",
    "State",
    "Stopped",
]

# A dying server closes all its connections at once; this is how long the second one may take to be noticed.
NOTICE_SECONDS = 0.3
MEMORY_SECONDS = 2.0
GIVEN_UP = "Loading was cancelled: the next message loads the model again, or choose another one."


@dataclass(frozen=True, slots=True)
class Starting:
    """Nothing is known yet."""


@dataclass(frozen=True, slots=True)
class Failed:
    """There is no model to talk to; ``reason`` is a sentence. The next message tries again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stopped(Failed):
    """Loading was cancelled, which is no mishap."""


State: TypeAlias = Starting | Loading | Ready | Failed


class Backend:
    """The connection's state, and its client for those who wait for it.

    ``on_change`` is called after each change of what is public here. ``spawn`` runs a life in the background; an app
    gives its own workers.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.state: State = Starting()
        self.planned: Planned | None = None  # where our own server puts the model
        self.memory: tuple[DeviceMemory, ...] = ()  # looked at while the model works
        self.loading = Pace()  # parts of 1
        self.on_change: Callable[[], None] = lambda: None
        self.spawn: Callable[[Coroutine[Any, Any, None]], object] = self._spawn
        self._client: AnswerClient | None = None
        self._changed = asyncio.Event()
        self._life: _Life | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._waits: set[asyncio.Timeout] = set()
        self._answering = 0

    @property
    def model(self) -> str:
        """The model's name, as far as it is known."""
        return self.state.model if isinstance(self.state, Ready) and self.state.model else self.connection.name

    @property
    def is_busy(self) -> bool:
        """Whether something is awaited: the model, or an answer of it."""
        return self._answering > 0 or isinstance(self.state, Starting | Loading)

    # -- lives -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin a new life in the background; one that goes on ends."""
        self.restarting()
        self.spawn(self.run())

    async def run(self) -> None:
        """Live one life of the connection; its end is a state and no exception."""
        self._leave()
        life = self._life = _Life(self)
        self._set(Starting())
        living = life.task = self._spawn(self.connection.live(life))
        watching = self._spawn(self._watch_memory(life))
        try:
            await asyncio.wait([living])
        finally:
            living.cancel()
            watching.cancel()
        if self._life is not life:
            return  # given up, or another one has begun
        self._client = None
        try:
            failed = Failed(living.result())
        except LocalqwenError as error:
            failed = Failed(str(error))
        except Exception as error:
            # Whoever waits for the model must not wait for ever; the next message tries again.
            self._set(Failed(f"The connection broke unexpectedly ({type(error).__name__})."))
            raise
        self._set(failed)

    def cancel(self) -> bool:
        """Give up loading, which frees the memory soon; tell whether there was anything to give up.

        The state is then :class:`Stopped`, and whoever waits for the model hears so. :meth:`start` or :meth:`switch`
        goes on.
        """
        if not isinstance(self.state, Starting | Loading):
            return False
        self._leave()
        self._set(Stopped(GIVEN_UP))
        return True

    def switch(self, connection: Connection) -> None:
        """Leave this model and begin with another.

        Answers on their way end as ``"cancelled"`` and are kept; questions that wait for a model go to the new one. Our
        own server ends by itself when nobody else uses it.
        """
        for wait in self._waits:
            wait.reschedule(0)  # the past: now
        self._leave()
        self.connection = connection
        self.planned, self.memory = None, ()
        self.start()

    def restarting(self) -> None:
        """A new life is about to begin: forget the last one's failure."""
        self.loading = Pace()
        self._set(Starting())

    def _leave(self) -> None:
        life, self._life = self._life, None
        self._client = None
        if life is not None and life.task is not None:
            life.task.cancel()

    # -- asking ----------------------------------------------------------------------------------------------------

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

    def asking(self) -> Asking:
        """One answer that is going to be asked for."""
        return Asking(self)

    def stream(
        self, history: list[ChatMessage], params: SamplingParams, *, resume: bool = False
    ) -> AsyncGenerator[AnswerEvent, None]:
        """The events of the next answer; :meth:`asking` tells more of it."""
        return self.asking().stream(history, params, resume=resume)

    async def count_tokens(self, said: Sequence[ChatMessage] | str) -> TokenCount:
        """How many tokens that takes: counted where a server does, else estimated."""
        client = self._client if isinstance(self.state, Ready) else None
        tokens = await client.count_tokens(said) if client is not None else None
        return TokenCount(tokens, is_exact=True) if tokens is not None else estimate(said)

    async def _next_event(self, events: AsyncGenerator[AnswerEvent, None]) -> AnswerEvent | None:
        """The next event, ``None`` after the last; ``Finished("cancelled")`` when the model is left meanwhile."""
        wait = asyncio.timeout(None)
        try:
            async with wait:
                self._waits.add(wait)
                return await anext(events, None)
        except TimeoutError:
            return Finished("cancelled")
        finally:
            self._waits.discard(wait)

    def _counts(self, change: int) -> None:
        self._answering += change
        self._changed.set()

    # -- inside ----------------------------------------------------------------------------------------------------

    def loaded(self, client: AnswerClient, event: LoadEvent) -> None:
        """See :class:`Listener`."""
        self._client = client
        if isinstance(event, Planned):
            self.planned = event
            self.on_change()
            return
        if isinstance(event, Loading):
            self.loading = self.loading.at(event.progress, time.monotonic())
        self._set(event)

    def lost(self) -> None:
        """See :class:`Listener`."""
        self._client = None
        self._changed.set()

    async def _watch_memory(self, life: _Life) -> None:
        """Look at the memory now and then, while it changes."""
        while True:
            client = life.client
            if client is None or not (self._answering or isinstance(self.state, Loading)):
                await self._next_change()
                continue
            memory = await client.memory()
            if memory and memory != self.memory and life is self._life:
                self.memory = memory
                self.on_change()
            await asyncio.sleep(MEMORY_SECONDS)

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

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)  # the event loop itself forgets tasks that nobody holds
        task.add_done_callback(self._tasks.discard)
        return task


class Asking:
    """One answer, whatever model gives it: which one that is, what the clock says, and the events."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._model: str | None = None
        self.watch = Watch(time.monotonic())

    @property
    def model(self) -> str:
        """Who answers; who would, before that is settled."""
        return self._model or self._backend.model

    async def stream(
        self, history: list[ChatMessage], params: SamplingParams, *, resume: bool = False
    ) -> AsyncGenerator[AnswerEvent, None]:
        """The events of the answer to ``history``, once there is a model; with ``resume``, of its last message's rest.

        When the server dies in the middle, the answer's error is why it died and not that the connection broke. When
        another model is chosen, it ends as cancelled. Raises :class:`ServerError` when there is no model.
        """
        backend = self._backend
        client = await backend.client()
        self._model = backend.model
        is_ours = backend.connection.address is None
        more = {"resume": True} if resume else {}
        events = client.stream(history, params, self._model, **more)
        backend._counts(+1)
        try:
            while (event := await backend._next_event(events)) is not None:
                self.watch = self.watch.see(event, time.monotonic())
                if isinstance(event, Finished) and event.reason == "error" and is_ours:
                    reason = await backend._reason_of_death()
                    event = replace(event, error=reason) if reason else event
                yield event
                if isinstance(event, Finished):
                    return
        finally:
            backend._counts(-1)
            await events.aclose()


class _Life:
    """One life of a connection: what it still says when it has been left is not heard."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.client: AnswerClient | None = None
        self.task: asyncio.Task[Any] | None = None

    def loaded(self, client: AnswerClient, event: LoadEvent) -> None:
        """See :class:`Listener`."""
        self.client = client
        if self._backend._life is self:
            self._backend.loaded(client, event)

    def lost(self) -> None:
        """See :class:`Listener`."""
        if self._backend._life is self:
            self._backend.lost()
