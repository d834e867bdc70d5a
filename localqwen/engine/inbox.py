"""What other threads ask of the loop: jobs, chores, and to stop. Its methods may be called in any thread.

The loop's own thread takes what is asked, and says what it computes, so that a cancellation can stop it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from localqwen.engine.context import DecodeAbortedError
from localqwen.engine.job import Job
from localqwen.engine.running import tell
from localqwen.events import Finished


class Abortable(Protocol):
    """What computes and can be told to stop by another thread."""

    def abort(self) -> None:
        """Stop what runs now and refuse more until :meth:`resume`."""

    def resume(self) -> None:
        """Allow computing again."""


class Together:
    """Two things that compute in turn and are stopped together; the second may be missing."""

    def __init__(self, first: Abortable, second: Abortable | None) -> None:
        self._parts = [first, second] if second is not None else [first]

    def abort(self) -> None:
        """Stop both."""
        for part in self._parts:
            part.abort()

    def resume(self) -> None:
        """Let both compute again."""
        for part in self._parts:
            part.resume()


class Chore(Protocol):
    """Work beside the jobs, in steps that take about as long as a decode. It handles its own failures."""

    def step(self) -> bool:
        """Do a part of it in the loop's thread; return whether more is to be done."""

    def drop(self) -> None:
        """It will not be done, or not to the end, because the loop ends."""


class Inbox:
    """Open jobs, and a queue of what is new."""

    def __init__(self) -> None:
        self.stopping = False
        self._queue: queue.SimpleQueue[Job | Chore | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._open: set[Job] = set()
        self._computing: tuple[Abortable, list[Job]] | None = None

    def submit(self, job: Job) -> None:
        """Put a job into the queue; one that comes after :meth:`stop` is cancelled at once."""
        with self._lock:
            stopping = self.stopping
            if not stopping:
                self._open.add(job)
                self._queue.put(job)
        if stopping:
            tell(job, Finished("cancelled", job.usage))

    def cancel(self, job: Job) -> None:
        """Stop a job, in the queue, in prefill or in generation; what it has generated stays generated."""
        job.cancelled.set()
        with self._lock:
            # A decode that others' tokens are in goes on; it is short as long as there are answers in it.
            if self._computing is not None and self._computing[1] == [job]:
                self._computing[0].abort()
        self._queue.put(None)

    def do(self, chore: Chore) -> None:
        """Put a chore into the queue; one that comes after :meth:`stop` is dropped at once."""
        with self._lock:
            if not self.stopping:
                self._queue.put(chore)
                return
        chore.drop()

    def stop(self) -> None:
        """Cancel every job, and take no more."""
        with self._lock:
            self.stopping = True
            for job in self._open:
                job.cancelled.set()
            if self._computing is not None:
                self._computing[0].abort()
        self._queue.put(None)

    @property
    def open_jobs(self) -> int:
        """How many jobs wait or run."""
        with self._lock:
            return len(self._open)

    @property
    def has_news(self) -> bool:
        """Whether there is something to take, or the loop is to stop."""
        return self.stopping or not self._queue.empty()

    def take(self, *, wait: bool) -> Job | Chore | None:
        """What came next, for the loop's thread; ``None`` only wakes it.

        Raises :class:`queue.Empty` if there is nothing and it is not to ``wait``.
        """
        return self._queue.get(block=wait)

    def close(self) -> Iterator[Job | Chore]:
        """Take nothing any more; what was not taken yet."""
        with self._lock:
            self.stopping = True
        while not self._queue.empty():
            if (item := self._queue.get()) is not None:
                yield item

    def forget(self, job: Job) -> None:
        """A job is over."""
        with self._lock:
            self._open.discard(job)

    def tell_last_words(self, sentence: str) -> None:
        """Tell every open job's reader why the process ends."""
        for job in self._open.copy():  # without the lock, which a thread that does not run any more may hold
            tell(job, Finished("error", job.usage, sentence))

    @contextmanager
    def computes(self, work: Abortable, jobs: list[Job]) -> Iterator[None]:
        """While the block runs, cancelling the only one of ``jobs`` or stopping the loop stops ``work``."""
        with self._lock:
            if self.stopping or (len(jobs) == 1 and jobs[0].cancelled.is_set()):
                raise DecodeAbortedError("The answer was stopped.")
            work.resume()  # an abortion from now on is meant for this work
            self._computing = (work, jobs)
        try:
            yield
        finally:
            with self._lock:
                self._computing = None
