"""The one loop that decodes: all running jobs' tokens in one batch, and a single thread that touches the contexts.

A job's events go to its sink, which is called in that thread and must only pass them on.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from localqwen.engine import native
from localqwen.engine.cache import Cache
from localqwen.engine.caches import Caches
from localqwen.engine.context import OUTPUTS, Batch, CacheLostError, DecodeAbortedError, NoRoomError
from localqwen.engine.job import Job
from localqwen.engine.model import Model
from localqwen.engine.plan import UBATCH
from localqwen.engine.rope import YarnMode, capacity
from localqwen.engine.roster import Roster
from localqwen.engine.running import Running, Step, tell
from localqwen.engine.schedule import prompt_budget, shares
from localqwen.engine.speculation import Speculation
from localqwen.engine.stats import Stats
from localqwen.errors import LocalqwenError
from localqwen.events import Finished, FinishReason

log = logging.getLogger(__name__)

SAVING_SECONDS, SAVING_BYTES = 5.0, 2 << 30


class Abortable(Protocol):
    """What computes and can be told to stop by another thread."""

    def abort(self) -> None:
        """Stop what runs now and refuse more until :meth:`resume`."""

    def resume(self) -> None:
        """Allow computing again."""


class Chore(Protocol):
    """Work beside the jobs, in steps that take about as long as a decode. It handles its own failures."""

    def step(self) -> bool:
        """Do a part of it in the loop's thread; return whether more is to be done."""

    def drop(self) -> None:
        """It will not be done, or not to the end, because the loop ends."""


class JobLoop:
    """Runs jobs. :meth:`run` is the thread; :meth:`submit`, :meth:`cancel`, :meth:`stop` may be called from any."""

    def __init__(
        self,
        model: Model,
        caches: Caches,
        stats: Stats,
        yarn: YarnMode = "auto",
        speculation: Callable[[], Speculation | None] = lambda: None,
        on_answer: Callable[[Running], None] = lambda running: None,
    ) -> None:
        """``speculation`` makes a job's own; ``on_answer`` is called before a job's end is told."""
        self.stats = stats
        self._model = model
        self._caches = caches
        self._roster = Roster(model, caches, yarn, self._fail)
        self._speculation = speculation
        self._on_answer = on_answer
        self._queue: queue.SimpleQueue[Job | Chore | None] = queue.SimpleQueue()
        self._chores: deque[Chore] = deque()
        self._lock = threading.Lock()
        self._open: set[Job] = set()
        self._computing: tuple[Abortable, list[Job]] | None = None
        self._stopping = False
        self._batch = Batch()
        self._prefill_rate = 0.0

    def submit(self, job: Job) -> None:
        """Put a job into the queue; one that comes after :meth:`stop` is cancelled at once."""
        with self._lock:
            stopping = self._stopping
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
        """Let the loop's thread take one step of ``chore`` between two decodes, until it is done."""
        with self._lock:
            if not self._stopping:
                self._queue.put(chore)
                return
        chore.drop()

    def stop(self) -> None:
        """Cancel every job and end :meth:`run`."""
        with self._lock:
            self._stopping = True
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

    def run(self) -> None:
        """Work until :meth:`stop`. A job that fails takes no other with it."""
        try:
            self._gauge()
            with native.at_abort(self._tell_last_words):
                while self._listen():
                    self._end_cancelled()
                    self._advance_jobs()
                    self._advance_chore()
                    self._gauge()
        except Exception as error:
            self._fail(list(self._roster), error)
            raise
        finally:
            with self._lock:
                self._stopping = True  # nobody reads the queue any more
            while not self._queue.empty():
                self._take(self._queue.get())
            for running in self._roster:
                self._finish(running, "cancelled")
            for chore in self._chores:
                chore.drop()
            self._save_all()
            self._caches.close()
            self._batch.close()

    def _tell_last_words(self, sentence: str) -> None:
        # Without the lock, which a thread that does not run any more may hold.
        for job in self._open.copy():
            tell(job, Finished("error", job.usage, sentence))

    def _listen(self) -> bool:
        """Take what came in, waiting for it if there is nothing to do; return whether to go on."""
        idle = not (self._chores or any(self._roster))
        while not self._stopping:
            try:
                self._take(self._queue.get(block=idle))
            except queue.Empty:
                return True
            idle = False
        return False

    def _take(self, item: Job | Chore | None) -> None:
        if isinstance(item, Job):
            running = Running(item, self._model, self._caches.budget, self._speculation())
            self._roster.waiting.append(running)
        elif item is not None:  # otherwise somebody only wanted to wake the loop
            self._chores.append(item)

    def _advance_chore(self) -> None:
        if self._chores and not self._chores[0].step():
            self._chores.popleft()

    def _end_cancelled(self) -> None:
        for running in self._roster:
            if running.job.cancelled.is_set():
                self._finish(running, "cancelled")

    def _advance_jobs(self) -> None:
        """Decode once in every cache. What goes wrong ends the jobs of one cache, and at worst loses the cache."""
        try:
            self._roster.admit()
        except CacheLostError as error:
            self._forget_lost(error)
        for cache in self._caches:
            try:
                self._step(cache)
            except Exception as error:
                self._fail([running for running in self._roster.running if running.cache is cache], error)
                self._forget_lost(error)

    def _forget_lost(self, error: Exception) -> None:
        for cache in self._caches:
            if cache.is_lost:
                self._fail([running for running in self._roster.running if running.cache is cache], error)
                self._caches.forget(cache)

    def _step(self, cache: Cache) -> None:
        """Decode once for the jobs of one cache, and sample for those whose tokens are all decoded."""
        steps = self._fill(self._roster.covered(cache))
        if not steps:
            return
        alone = len(self._roster.running) == 1
        started = time.perf_counter()
        try:
            with self._computes(cache.context, [step.running.job for step in steps]):
                cache.decode(self._batch)
        except NoRoomError:
            self._roster.make_room(cache, len(self._batch))
            return
        except DecodeAbortedError:
            return  # the jobs that are not cancelled decode the same tokens again
        seconds = time.perf_counter() - started
        for step in steps:
            self._advance(step)
        self._measure(steps, seconds, alone=alone)

    def _fill(self, jobs: list[Running]) -> list[Step]:
        """Put the next tokens of each job into the batch."""
        self._batch.clear()
        answers = [running for running in jobs if running.pending == 1]
        prompts = [running for running in jobs if running.pending > 1]
        counts = [1] * len(answers)
        answering = sum(running.pending == 1 for running in self._roster.running)  # in other caches too
        budget = prompt_budget(UBATCH - len(answers), answering, self._prefill_rate)
        counts += shares([running.pending for running in prompts], budget)
        steps = []
        for running, count in zip([*answers, *prompts], counts, strict=True):
            if count:
                assert running.slot is not None
                start = len(running.slot.tokens)
                draft = self._draft(running)
                tokens = [*running.tokens[start : start + count], *draft]
                outputs = 1 + len(draft) if count == running.pending else 0
                steps.append(Step(running, self._batch.add(running.slot.id, tokens, start, outputs), count, draft))
        return steps

    def _draft(self, running: Running) -> Sequence[int]:
        """What to guess of the answer: nothing while other jobs use the time that guesses are meant to use."""
        if running.speculation is None or len(self._roster.running) > 1 or running.pending != 1:
            return ()
        assert running.cache is not None
        most = capacity(running.cache.rope, self._model.window) - len(running.tokens)
        try:
            with self._computes(running.speculation, [running.job]):
                return running.speculation.propose(running.tokens, min(running.room - 1, most, OUTPUTS - 1))
        except DecodeAbortedError:
            return ()

    @contextmanager
    def _computes(self, work: Abortable, jobs: list[Job]) -> Iterator[None]:
        """While the block runs, cancelling the only one of ``jobs`` or stopping the loop stops ``work``."""
        with self._lock:
            if self._stopping or (len(jobs) == 1 and jobs[0].cancelled.is_set()):
                raise DecodeAbortedError("The answer was stopped.")
            work.resume()  # an abortion from now on is meant for this work
            self._computing = (work, jobs)
        try:
            yield
        finally:
            with self._lock:
                self._computing = None

    def _advance(self, step: Step) -> None:
        try:
            reason = step.running.advance(step)
        except Exception as error:  # of the sampler: the sequence itself is sound
            step.running.forget_guesses()
            self._fail([step.running], error, sound=True)
            return
        if reason:
            self._finish(step.running, reason)

    def _measure(self, steps: list[Step], seconds: float, *, alone: bool) -> None:
        stats = self.stats
        stats.decodes += 1
        tokens = len(self._batch)
        if tokens - len(steps) >= OUTPUTS:
            self._prefill_rate = tokens / seconds
        for step in steps:
            stats.drafted_tokens += len(step.draft)
            stats.accepted_tokens += step.accepted
            if step.running.speculation is not None and alone and step.count == 1:
                step.running.speculation.record(len(step.draft), step.accepted, seconds)

    def _fail(self, jobs: list[Running], error: Exception, *, sound: bool = False) -> None:
        """End jobs with an error; unless what their sequences hold is ``sound``, it is forgotten."""
        for running in jobs:
            if not sound:
                running.lose()
            if isinstance(error, LocalqwenError):
                log.warning("%s", error)
                self._finish(running, "error", str(error))
            else:
                log.error("A job failed", exc_info=error)
                self._finish(running, "error", f"The engine failed on this answer: {error!r}.")

    def _finish(self, running: Running, reason: FinishReason, error: str | None = None) -> None:
        self._roster.remove(running)
        with self._lock:
            self._open.discard(running.job)
        running.close(reason)
        self._on_answer(running)
        running.tell(Finished(reason, running.job.usage, error))
        self._gauge()
        self.stats.count(running.job.usage, reason)

    def _gauge(self) -> None:
        stats = self.stats
        stats.running, stats.waiting = len(self._roster.running), len(self._roster.waiting)
        stats.cache_size = sum(cache.size for cache in self._caches)
        stats.cache_tokens = sum(cache.used for cache in self._caches)
        stats.states_saved, stats.states_restored = self._caches.saved, self._caches.restored
        stats.states_turned = self._caches.turned

    def _save_all(self) -> None:
        """Write the conversations in memory to disk, the most recent ones first, as far as a short time allows."""
        deadline, left = time.monotonic() + SAVING_SECONDS, SAVING_BYTES
        for cache in self._caches:
            left = cache.save_all(deadline, left)
