"""One job's events, brought from the engine's thread into the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from localqwen.engine.engine import Engine
from localqwen.engine.job import Job, Request
from localqwen.events import AnswerEvent, Finished
from localqwen.params import ChatMessage, SamplingParams


class Answer:
    """The events of one job. Whoever holds it calls :meth:`close` when nobody listens any more."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[AnswerEvent] = asyncio.Queue()
        self._job: Job | None = None
        self._closed = False

    async def start(self, messages: Sequence[ChatMessage], params: SamplingParams) -> None:
        """Submit the job; raises what :meth:`Engine.submit` raises."""
        # Rendering and tokenizing a long conversation takes a while, so the event loop does not wait for it.
        await asyncio.to_thread(self._submit, messages, params)

    async def events(self, silence: float) -> AsyncIterator[AnswerEvent | None]:
        """The job's events up to its ``Finished``, and ``None`` after each ``silence`` seconds without any."""
        while True:
            try:
                async with asyncio.timeout(silence):
                    event: AnswerEvent | None = await self._events.get()
            except TimeoutError:
                event = None
            yield event
            if isinstance(event, Finished):
                return

    def close(self) -> None:
        """Cancel the job if it is not finished."""
        self._closed = True
        if self._job is not None:
            self._engine.cancel(self._job)

    def _submit(self, messages: Sequence[ChatMessage], params: SamplingParams) -> None:
        request = Request(self._engine.chat_prompt(messages), params)
        self._job = self._engine.submit(request, self._receive)
        if self._closed:  # closed before there was a job to cancel
            self._engine.cancel(self._job)

    def _receive(self, event: AnswerEvent) -> None:
        self._loop.call_soon_threadsafe(self._events.put_nowait, event)
