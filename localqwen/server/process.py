"""The server process: from an open socket to a clean end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from localqwen.engine.engine import Engine, Failed, State
from localqwen.server.app import Access, create_app
from localqwen.server.attach import Attachments
from localqwen.server.presence import Presence

SHUTDOWN_SECONDS = 5
BACKLOG = 128


class Server(uvicorn.Server):
    """uvicorn that ends long streams when it stops, and takes a stop signal as a normal end."""

    def __init__(self, config: uvicorn.Config, engine: Engine, attachments: Attachments) -> None:
        super().__init__(config)
        self._engine = engine
        self._attachments = attachments

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop the engine and the attached clients' streams first: uvicorn waits until every response is over."""
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


def serve(engine: Engine, listener: socket.socket, access: Access, *, private: bool = False) -> None:
    """Serve ``engine`` on a bound socket until a signal comes, or, when ``private``, until nobody uses it.

    Connections are accepted before the model is loaded. Raises the :class:`LocalqwenError` that loading ended with.
    """
    listener.listen(BACKLOG)
    asyncio.run(_serve(engine, listener, access, private))
    if not engine.close():
        # llama.cpp is in the middle of something that cannot be interrupted; its memory goes with the process.
        os._exit(0)
    if isinstance(engine.state, Failed):
        raise engine.state.error


async def _serve(engine: Engine, listener: socket.socket, access: Access, private: bool) -> None:
    attachments = Attachments(engine)
    app = create_app(engine, access, attachments)

    def leave() -> None:
        server.should_exit = True

    presence = Presence(app, leave) if private else None
    config = uvicorn.Config(
        presence or app,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    server = Server(config, engine, attachments)
    loop = asyncio.get_running_loop()

    def watch(state: State) -> None:
        if isinstance(state, Failed):  # a private server first tells its clients
            loop.call_soon_threadsafe(presence.hurry if presence else leave)

    unsubscribe = engine.subscribe(watch)
    engine.start()
    try:
        await server.serve(sockets=[listener])
    finally:
        unsubscribe()
