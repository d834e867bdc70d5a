"""A writer that is killed, and streams whose timing a test decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable

from localqwen.events import AnswerEvent, Delta, Finished
from localqwen.params import ChatMessage


def scripted(events: Iterable[AnswerEvent]) -> Callable[[list[ChatMessage]], AsyncGenerator[AnswerEvent, None]]:
    """A stream that yields ``events`` at once."""

    async def stream(_history: list[ChatMessage]) -> AsyncGenerator[AnswerEvent, None]:
        for event in events:
            await asyncio.sleep(0)
            yield event

    return stream


class HangingStream:
    """A stream that yields ``events`` and then falls silent; ``closed`` tells that it was closed."""

    def __init__(self, events: Iterable[AnswerEvent]) -> None:
        self._events = list(events)
        self.silent = asyncio.Event()
        self.closed = False

    async def __call__(self, _history: list[ChatMessage]) -> AsyncGenerator[AnswerEvent, None]:
        try:
            for event in self._events:
                yield event
            self.silent.set()
            await asyncio.Event().wait()
        finally:
            self.closed = True


def said(text: str) -> Callable[[list[ChatMessage]], AsyncGenerator[AnswerEvent, None]]:
    """A stream that says ``text``."""
    return scripted([Delta(text), Finished("stop")])
