"""The chat in a browser on this machine: textual-serve, shut to everybody else.

textual-serve starts a command for each browser that connects, listens on whatever host it is told, asks nobody who they
are, and its page fetches a font from Google. So: loopback only, a secret in the address (other users of this machine
can reach its loopback too), no other names for this machine (DNS rebinding) and no other pages' scripts (a WebSocket
may be opened by any page), and a page of our own that fetches nothing.
"""

from __future__ import annotations

import asyncio
import html
import secrets
import shlex
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler
from textual_serve.server import Server, to_int

from localqwen.errors import LocalqwenError

HOST = "127.0.0.1"
SHUTDOWN_SECONDS = 5.0
FONT_SIZES = range(6, 73)

PAGE = """<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <title>localqwen</title>
    <link rel="icon" href="data:," />
    <link rel="stylesheet" href="{static}css/xterm.css" />
    <script src="{static}js/textual.js"></script>
    <style>
      body {{ background: #14161b; color: #d9dbe3; font-family: monospace; }}
      .closed {{ display: none; position: absolute; inset: 0; align-items: center; justify-content: center; }}
      body.-closed .closed {{ display: flex; }}
      body.-closed .textual-terminal {{ display: none; }}
    </style>
  </head>
  <body>
    <div class="closed"><p>The chat has ended; everything is kept. <a href="">Open it again.</a></p></div>
    <div id="terminal" class="textual-terminal" data-session-websocket-url="{socket}" data-font-size="{font}"></div>
  </body>
</html>
"""


class WebChat(Server):
    """Serves the chat's full screen; each browser tab is a chat process of its own."""

    def __init__(self, command: str, port: int, say: Callable[[str], None]) -> None:
        """``command`` is run by a shell for each tab; ``say`` is told the address, once it can be opened."""
        super().__init__(command, host=HOST, port=port, title="localqwen")
        self.key = secrets.token_urlsafe(24)
        self._say = say
        self._tabs: set[asyncio.Task[Any]] = set()

    @property
    def address(self) -> str:
        """What to open in a browser; whoever knows it can use the chat."""
        return f"http://{HOST}:{self.port}/{self.key}/"

    def run(self) -> None:
        """Serve until Ctrl+C. The library's own way would print a logo, and the address before anybody listens."""
        web.run_app(
            self._make_app(),
            host=HOST,
            port=self.port,
            access_log=None,
            shutdown_timeout=SHUTDOWN_SECONDS,
            print=lambda *_: self._say(f"The chat is at {self.address} for this machine's browsers; Ctrl+C ends it."),
        )

    async def on_shutdown(self, app: web.Application) -> None:
        """End the open tabs' chats, or the end would wait a minute for them."""
        for tab in self._tabs:
            tab.cancel()

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """A browser's tab: a chat process, until either goes away."""
        task = asyncio.current_task()
        assert task is not None
        self._tabs.add(task)
        try:
            return await super().handle_websocket(request)
        finally:
            self._tabs.discard(task)

    async def _make_app(self) -> web.Application:
        # The library's own, with its routes under the secret: there is no public way to place them.
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._guarded(request, handler)

        app = web.Application(middlewares=[guard])
        app.add_routes(
            [
                web.get(f"/{self.key}/", self.handle_index, name="index"),
                web.get(f"/{self.key}/ws", self.handle_websocket, name="websocket"),
                web.get(f"/{self.key}/download/{{key}}", self.handle_download, name="download"),
                web.static(f"/{self.key}/static", self.statics_path, name="static"),
            ]
        )
        app.on_shutdown.append(self.on_shutdown)
        return app

    async def handle_index(self, request: web.Request) -> web.Response:
        """The page."""
        font = to_int(request.query.get("fontsize", "16"), 16)
        page = PAGE.format(
            static=html.escape(f"/{self.key}/static/"),
            socket=html.escape(f"ws://{HOST}:{self.port}/{self.key}/ws"),
            font=font if font in FONT_SIZES else 16,
        )
        return web.Response(text=page, content_type="text/html")

    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self._may_ask(request.headers.get("Host", ""), request.headers.get("Origin")):
            raise web.HTTPForbidden(text="Only pages of this machine are served here.")
        response = await handler(request)
        if not response.prepared:
            here = f"{HOST}:{self.port}"
            response.headers["Content-Security-Policy"] = (
                f"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
                f"connect-src 'self' ws://{here}; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
            )
            response.headers["Referrer-Policy"] = "no-referrer"  # a link in an answer must not take the secret along
            response.headers["Cache-Control"] = "no-store"
        return response

    def _may_ask(self, host: str, origin: str | None) -> bool:
        here = f"{HOST}:{self.port}"
        return host == here and (origin is None or urlsplit(origin).netloc == here)


def serve_chat(command: Sequence[str], port: int, say: Callable[[str], None]) -> None:
    """Serve until Ctrl+C. Raises :class:`LocalqwenError` when the port is taken."""
    try:
        WebChat(shlex.join(command), port, say).run()
    except OSError as error:
        raise LocalqwenError(
            f"Port {port} of this machine cannot be used ({error.strerror or error}): choose another with --port."
        ) from error
