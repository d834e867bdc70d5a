"""When a private server may end: nobody has used it for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

ATTACH_PATH = "/localqwen/attach"
FIRST_SECONDS = 60.0
IDLE_SECONDS = 5.0


class Presence:
    """ASGI middleware that counts the requests in progress and calls ``leave`` when there are none for long enough.

    An attached client is a request that stays open, so it counts by itself. Until the first one attaches the server
    waits longer, because whoever started it may still be starting too.
    """

    def __init__(
        self,
        app: ASGIApp,
        leave: Callable[[], None],
        first_seconds: float = FIRST_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        is_loading: Callable[[], bool] = lambda: False,
    ) -> None:
        """While ``is_loading`` says so, the last attached client takes the server with it: nobody waits any more."""
        self._app = app
        self._leave = leave
        self._first = first_seconds
        self._idle = idle_seconds
        self._is_loading = is_loading
        self._active = 0
        self._first_deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":  # the server starts: there is an event loop for the first countdown
            self._first_deadline = asyncio.get_running_loop().time() + self._first
            self._arm()
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._active += 1
        self._disarm()
        if scope["path"] == ATTACH_PATH:
            self._first_deadline = None
        try:
            await self._app(scope, receive, send)
        finally:
            self._active -= 1
            if not self._active:
                if scope["path"] == ATTACH_PATH and self._is_loading():
                    self._idle = 0  # the memory is wanted back now
                self._arm()

    def hurry(self) -> None:
        """Leave as soon as the requests in progress are over: the server is of no use any more."""
        self._first_deadline = None
        self._idle = 0
        if not self._active:
            self._arm()

    def _arm(self) -> None:
        self._disarm()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(max(loop.time() + self._idle, self._first_deadline or 0), self._leave)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
