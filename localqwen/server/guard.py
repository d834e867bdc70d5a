"""Who may ask, and how much: programs of this machine or holders of the API key, within a size."""

from __future__ import annotations

import secrets

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from localqwen.device_options import is_loopback
from localqwen.server.failures import error_response

# The documentation says nothing that is not public, and a browser has no key before its page is there to ask for it.
OPEN_PATHS = {"/health", "/docs", "/redoc", "/openapi.json"}
OPEN_FOLDERS = ("/static-offline-docs/", "/docs/")
# A conversation of 131072 tokens is about half a megabyte; what is far beyond could only fill the memory.
MAX_BODY_BYTES = 16 << 20


class Guard:
    """ASGI middleware that checks Host header, API key and announced size before anything else happens.

    A web page can make a browser ask 127.0.0.1, and by giving its own name that address (DNS rebinding) even read the
    answer. Such a request carries the page's host name, so on a loopback socket only loopback names are let through.
    A page cannot know the key, so with one that check is not needed.
    """

    def __init__(self, app: ASGIApp, *, api_key: str | None, check_host: bool) -> None:
        self._app = app
        self._key = api_key.encode() if api_key else None
        self._check_host = check_host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if self._check_host and not is_loopback(host_name(headers.get("host", ""))):
            refusal = error_response("Only names of this machine are served here: ask 127.0.0.1.", 403)
            await refusal(scope, receive, send)
        elif self._key and not _is_open(scope["path"]) and not self._has_key(headers):
            await error_response("The API key is missing or wrong.", 401, code="invalid_api_key")(scope, receive, send)
        elif announced_size(headers) > MAX_BODY_BYTES:
            await error_response("The request is too large.", 413)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _has_key(self, headers: Headers) -> bool:
        kind, _, key = headers.get("authorization", "").partition(" ")
        return kind.lower() == "bearer" and secrets.compare_digest(key.strip().encode(), self._key or b"")


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or (path.startswith(OPEN_FOLDERS) and ".." not in path)


def announced_size(headers: Headers) -> int:
    """The Content-Length; 0 where there is none, whose body FastAPI counts while it comes."""
    value = headers.get("content-length", "")
    return int(value) if value.isascii() and value.isdigit() else 0


def host_name(header: str) -> str:
    """The name in a Host header, without its port and without the brackets of an IPv6 address."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]
