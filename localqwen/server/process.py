"""The server process: from an open socket to a clean end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import uvicorn

from localqwen.engine.engine import Engine, Failed, State
from localqwen.events import Loading
from localqwen.server.app import Access, create_app
from localqwen.server.attach import Attachments
from localqwen.server.presence import Presence

SHUTDOWN_SECONDS = 5
CLOSE_SECONDS, GIVE_UP_SECONDS = 10.0, 1.0


class Server(uvicorn.Server):
    """uvicorn with our application: it ends long streams when it stops, and takes a stop signal as a normal end."""

    def __init__(self, engine: Engine, access: Access, names: Sequence[str] = (), *, private: bool = False) -> None:
        """Serve the model as ``names`` (default: the engine's).

        A ``private`` server also ends when nobody uses it any more, or when the model cannot be loaded.
        """
        self._engine = engine
        self._attachments = Attachments(engine)
        app = create_app(engine, access, self._attachments, names)
        self._presence = Presence(app, self.leave, is_loading=self._is_loading) if private else None
        super().__init__(
            uvicorn.Config(
                self._presence or app,
                log_config=None,
                access_log=False,
                server_header=False,
                ws="none",
                lifespan="on",
                timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            )
        )

    def _is_loading(self) -> bool:
        return isinstance(self._engine.state, Loading)

    def leave(self) -> None:
        """Shut down soon; may be called in any thread."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, and watch the engine from then on."""
        await super().startup(sockets)
        loop = asyncio.get_running_loop()
        give_up = self._presence.hurry if self._presence else self.leave  # a private server first tells its clients

        def watch(state: State) -> None:
            if isinstance(state, Failed):
                loop.call_soon_threadsafe(give_up)

        self._unsubscribe = self._engine.subscribe(watch)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop the engine and the attached clients' streams first: uvicorn waits until every response is over."""
        self._unsubscribe()
        self._engine.stop()
        self._attachments.end()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but without raising the signal again at the end, which would lose the exit code."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)


def serve(
    engine: Engine, listener: socket.socket, access: Access, names: Sequence[str] = (), *, private: bool = False
) -> None:
    """Serve ``engine`` on a listening socket until a signal comes, or, when ``private``, until nobody uses it.

    Connections are accepted before the model is loaded. Raises the :class:`LocalqwenError` that loading ended with.
    """
    engine.start()
    Server(engine, access, names, private=private).run(sockets=[listener])
    failure = engine.state.error if isinstance(engine.state, Failed) else None
    # A model that is only being loaded has nothing to write down first.
    if not engine.close(GIVE_UP_SECONDS if isinstance(engine.state, Loading) else CLOSE_SECONDS):
        # llama.cpp is in the middle of something that cannot be interrupted; its memory goes with the process.
        os._exit(0)
    if failure is not None:
        raise failure
