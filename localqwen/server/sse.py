"""Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

HEARTBEAT_SECONDS = 5.0
HEARTBEAT = b":\n\n"  # a comment: shows a client that we live, and us whether it does
DONE = b"data: [DONE]\n\n"


def message(data: Mapping[str, Any], event: str | None = None) -> bytes:
    """One event on the wire. JSON escapes line breaks, so one line will do."""
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


class EventStream(StreamingResponse):
    """A stream of events that calls ``on_close`` however it ends, even if it never began."""

    def __init__(self, events: AsyncIterator[bytes], on_close: Callable[[], None] = lambda: None) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        self._on_close = on_close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_close()
