"""Where answers come from, as the rest of the app sees it: a state to show, and a model to ask once there is one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from localqwen.device_memory import DeviceMemory
from localqwen.errors import LocalqwenError, ServerError
from localqwen.events import AnswerEvent, Finished, LoadEvent, Loading, Planned, Ready
from localqwen.pace import Pace
from localqwen.params import ChatMessage, SamplingParams
from localqwen.token_count import TokenCount, estimate
from tui.backend_state import Failed, Starting, State, Stopped
from tui.connections import AnswerClient, Connection, Listener

# A dying server closes all its connections at once; this is how long the second one may take to be noticed.
NOTICE_SECONDS = 0.3
MEMORY_SECONDS = 2.0
GIVEN_UP = "Loading was cancelled: the next message loads the model again, or choose another one."


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
        self._life: Life | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._waits: set[asyncio.Timeout] = set()
        self._answering = 0

    @property
    def model(self) -> str:
        """The model's name, as far as it is known."""
        return self.state.model if isinstance(self.state, Ready) and self.state.model else self.connection.name

    @property
    def sampling(self) -> SamplingParams:
        """The model's own sampling, as far as it is known."""
        return self.state.sampling if isinstance(self.state, Ready) else SamplingParams()

    @property
    def is_busy(self) -> bool:
        """Whether something is awaited: the model, or an answer of it."""
        return self._answering > 0 or isinstance(self.state, Starting | Loading)

    # -- lives -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin a new life in the background; one that goes on ends."""
        self.restarting()
        self.spawn(self.run())

    def revive(self) -> None:
        """Begin a new life if the last one has failed: something is going to be asked."""
        if isinstance(self.state, Failed):
            self.start()

    async def run(self) -> None:
        """Live one life of the connection; its end is a state and no exception."""
        self._leave()
        life = self._life = Life(self)
        self._set(Starting())
        living = self._spawn(self.connection.live(life))
        watching = self._spawn(self._watch_memory(life))
        life.on_end = living.cancel
        try:
            await asyncio.wait([living])
        finally:
            living.cancel()
            watching.cancel()
        if life.is_over:
            return  # given up, or another one has begun
        self._client = None
        try:
            life.reason = living.result()
        except LocalqwenError as error:
            life.reason = str(error)
        except Exception as error:
            life.reason = f"The connection broke unexpectedly ({type(error).__name__})."
            raise
        finally:
            # Whoever waits for the model must not wait for ever; the next message tries again.
            self._set(Failed(life.reason or ""))

    def cancel(self) -> bool:
        """Give up loading, which frees the memory soon; tell whether there was anything to give up.

        The state is then :class:`Stopped`, and whoever waits for the model hears so. :meth:`start` or :meth:`switch`
        goes on.
        """
        if not isinstance(self.state, Starting | Loading):
            return False
        self._leave()
        self.planned, self.memory = None, ()  # they are this model's, which is not there
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
        """A new life is about to begin: forget the last one's failure, and where its model lay."""
        self.loading = Pace()
        self.planned, self.memory = None, ()
        self._set(Starting())

    async def close(self) -> None:
        """Leave the model, and wait until nothing goes on here."""
        self._leave()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _leave(self) -> None:
        life, self._life = self._life, None
        self._client = None
        if life is not None:
            life.end()
            self._changed.set()

    # -- asking ----------------------------------------------------------------------------------------------------

    async def joined(self) -> tuple[AnswerClient, Life]:
        """Wait until there is a model to ask, and in which life that is.

        Raises:
            ServerError: There will be none, with the reason.
        """
        while True:
            if isinstance(self.state, Ready) and self._client is not None and self._life is not None:
                return self._client, self._life
            if isinstance(self.state, Failed):
                raise ServerError(self.state.reason)
            await self._next_change()

    async def count_tokens(self, said: Sequence[ChatMessage] | str) -> TokenCount:
        """How many tokens that takes: counted where a server does, else estimated."""
        client = self._client if isinstance(self.state, Ready) else None
        tokens = await client.count_tokens(said) if client is not None else None
        return TokenCount(tokens, is_exact=True) if tokens is not None else estimate(said)

    async def next_event(self, events: AsyncGenerator[AnswerEvent, None], life: Life) -> AnswerEvent | None:
        """The next event, ``None`` after the last; ``Finished("cancelled")`` when ``life`` has been left meanwhile."""
        wait = asyncio.timeout(None)
        try:
            async with wait:
                self._waits.add(wait)
                event = None if life.is_over else await anext(events, None)
        except TimeoutError:
            return Finished("cancelled")
        finally:
            self._waits.discard(wait)
        # An event may be there already when the model is left, which the timeout then comes too late for.
        return Finished("cancelled") if life.is_over else event

    @contextmanager
    def answering(self) -> Iterator[None]:
        """While an answer comes."""
        self._answering += 1
        self._changed.set()
        try:
            yield
        finally:
            self._answering -= 1
            self._changed.set()

    def gone(self, life: Life, reason: str) -> None:
        """An answer says that nobody answers at its server's address any more; the next message tries again.

        Our own server's death is told by its connection, which knows why.
        """
        if not life.is_over:
            self.lost()
            self._set(Failed(reason))

    async def reason_of_death(self, life: Life) -> str | None:
        """Why our own server died; ``None`` for one that lives, which is known after a moment, or has been left."""
        with suppress(TimeoutError):
            async with asyncio.timeout(NOTICE_SECONDS):
                while not (life.is_lost or life.is_over):
                    await self._next_change()
        while life.is_lost and not life.is_over and life.reason is None:
            await self._next_change()
        return life.reason

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

    async def look_at_memory(self) -> None:
        """Ask now how full the devices are."""
        life = self._life
        if life is None or life.client is None:
            return
        memory = await life.client.memory()
        if memory and memory != self.memory and not life.is_over:
            self.memory = memory
            self.on_change()

    async def _watch_memory(self, life: Life) -> None:
        """Look at the memory now and then, while it changes."""
        while True:
            if life.client is None or not (self._answering or isinstance(self.state, Loading)):
                await self._next_change()
                continue
            await self.look_at_memory()
            await asyncio.sleep(MEMORY_SECONDS)

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


class Life:
    """One life of a connection: what it still says when it has been left is not heard."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.client: AnswerClient | None = None
        self.is_over = False
        self.is_lost = False  # the server has gone; why is known later
        self.reason: str | None = None
        self.on_end: Callable[[], object] = lambda: None

    def end(self) -> None:
        """Hear no more of it."""
        self.is_over = True
        self.on_end()

    def loaded(self, client: AnswerClient, event: LoadEvent) -> None:
        """See :class:`Listener`."""
        self.client = client
        if not self.is_over:
            self._listener.loaded(client, event)

    def lost(self) -> None:
        """See :class:`Listener`."""
        self.is_lost = True
        if not self.is_over:
            self._listener.lost()
