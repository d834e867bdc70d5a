"""The events of one request's jobs, brought from the engine's thread into the event loop."""

from __future__ import annotations

import asyncio
import collections
import functools
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeAlias

from localqwen.engine.engine import Engine
from localqwen.engine.job import Job, Request
from localqwen.events import AnswerEvent, Finished

Batch: TypeAlias = Sequence[tuple[int, AnswerEvent]]

# From one batch of events to the next. Sending one takes the server and its reader some 0.5 ms of a core, of which a
# model that decodes on every core is short; nobody sees whether text comes 20 times a second or more often.
PAUSE_SECONDS = 1 / 20


class Answers:
    """The choices of one request, a job each. Whoever holds it calls :meth:`close` when nobody listens any more."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._waiting: collections.deque[tuple[int, AnswerEvent]] = collections.deque()
        self._woken = asyncio.Event()
        self._calling = False  # the event loop was told that something waits
        self._pausing = False  # it has just looked, and will look again soon by itself
        self._jobs: list[Job] = []
        self._closed = False

    async def start(self, requests: Callable[[], Sequence[Request]]) -> None:
        """Make the requests and submit a job for each; raises what either raises."""
        # Rendering and tokenizing a long conversation takes a while, so the event loop does not wait for it.
        try:
            await asyncio.to_thread(self._submit, requests)
        except asyncio.CancelledError:  # the thread goes on
            self.close()
            raise

    async def batches(self, silence: float) -> AsyncIterator[Batch]:
        """What came since the last time, each event with its job's number, until every job has ``Finished``.

        An empty batch comes after ``silence`` seconds without any event. After a batch there is a short pause, so that
        what a fast model generates is sent together.
        """
        unfinished = len(self._jobs)
        timer = self._loop.call_later(silence, self._woken.set)
        try:
            while unfinished:
                await self._woken.wait()
                self._woken.clear()
                self._calling = False  # before looking, so that what comes in between calls again
                batch = []
                while self._waiting:
                    batch.append(self._waiting.popleft())
                if batch or self._loop.time() >= timer.when():
                    # The timer of a stream that moves is not touched for every token.
                    if self._loop.time() >= timer.when() - silence / 2:
                        timer.cancel()
                        timer = self._loop.call_later(silence, self._woken.set)
                    unfinished -= sum(isinstance(event, Finished) for _, event in batch)
                    self._pausing = True
                    self._loop.call_later(PAUSE_SECONDS, self._end_pause)
                    yield batch
        finally:
            timer.cancel()

    def close(self) -> None:
        """Cancel the jobs that are not finished."""
        self._closed = True
        for job in self._jobs:
            self._engine.cancel(job)

    def _submit(self, requests: Callable[[], Sequence[Request]]) -> None:
        try:
            for index, request in enumerate(requests()):
                if self._closed:
                    break
                self._jobs.append(self._engine.submit(request, functools.partial(self._receive, index)))
        except Exception:
            self.close()
            raise
        if self._closed:  # closed while a job was submitted
            self.close()

    def _receive(self, index: int, event: AnswerEvent) -> None:
        self._waiting.append((index, event))
        if not self._calling and (not self._pausing or isinstance(event, Finished)):
            self._calling = True
            self._loop.call_soon_threadsafe(self._woken.set)

    def _end_pause(self) -> None:
        self._pausing = False  # before looking, so that what comes in between calls
        if self._waiting:
            self._woken.set()
