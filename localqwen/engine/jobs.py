"""The one loop that decodes: all running jobs' tokens in one batch, and a single thread that touches the contexts.

A job's events go to its sink, which is called in that thread and must only pass them on.
"""

from __future__ import annotations

import logging
import queue
import time
from collections import deque
from collections.abc import Callable, Sequence

from localqwen.engine import native
from localqwen.engine.cache import Cache
from localqwen.engine.caches import Caches
from localqwen.engine.context import OUTPUTS, Batch, CacheLostError, DecodeAbortedError, NoRoomError
from localqwen.engine.inbox import Chore, Inbox, Together
from localqwen.engine.job import Job
from localqwen.engine.model import Model
from localqwen.engine.rope import YarnMode, capacity
from localqwen.engine.roster import Roster
from localqwen.engine.running import Running, Step
from localqwen.engine.schedule import prompt_budget, shares
from localqwen.engine.speculation import Speculation
from localqwen.engine.stats import Stats
from localqwen.errors import LocalqwenError
from localqwen.events import Finished, FinishReason

log = logging.getLogger(__name__)

SAVING_SECONDS, SAVING_BYTES = 5.0, 2 << 30
GAUGE_EVERY = 64  # tokens of a job that runs alone


class JobLoop:
    """Runs the jobs that come into its ``inbox``; :meth:`run` is the thread."""

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
        self.inbox = Inbox()
        self._chores: deque[Chore] = deque()
        self._batch = Batch(caches.ubatch)
        self._prefill_rate = 0.0

    def run(self) -> None:
        """Work until the inbox is told to stop. A job that fails takes no other with it."""
        try:
            self._gauge()
            with native.at_abort(self.inbox.tell_last_words):
                while self._listen():
                    self._end_cancelled()
                    self._advance_jobs()
                    self._advance_chore()
                    self._gauge()
        except Exception as error:
            self._fail(list(self._roster), error)
            raise
        finally:
            for item in self.inbox.close():
                self._take(item)
            for running in self._roster:
                self._finish(running, "cancelled")
            for chore in self._chores:
                chore.drop()
            self._save_all()
            self._caches.close()
            self._batch.close()

    def _listen(self) -> bool:
        """Take what came in, waiting for it if there is nothing to do; return whether to go on."""
        idle = not (self._chores or any(self._roster))
        while not self.inbox.stopping:
            try:
                self._take(self.inbox.take(wait=idle))
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
        jobs = self._roster.covered(cache)
        if jobs == list(self._roster) and len(jobs) == 1 and jobs[0].pending == 1 and not self._chores:
            self._answer_alone(cache, jobs[0])
            return
        steps = self._fill(jobs)
        if not steps:
            return
        try:
            with self.inbox.computes(cache.context, [step.running.job for step in steps]):
                seconds = self._decode(cache)
        except NoRoomError:
            self._roster.make_room(cache, len(self._batch))
            return
        except DecodeAbortedError:
            return  # the jobs that are not cancelled decode the same tokens again
        for step in steps:
            self._advance(step)
        if len(self._batch) - len(steps) >= OUTPUTS:
            self._prefill_rate = len(self._batch) / seconds

    def _answer_alone(self, cache: Cache, running: Running) -> None:
        """Decode token after token of the only job there is, until something comes in or it cannot stay.

        Most of the time a person waits for this. After a decode, nothing of ours is in the processor's caches, so that
        whatever is done here takes many times as long as in a loop of its own: hence as little as possible is.
        """
        assert running.slot is not None
        tokens, slot, batch, speculation = running.tokens, running.slot, self._batch, running.speculation
        most = capacity(cache.rope, self._model.window)
        draft: Sequence[int] = ()
        try:
            with self.inbox.computes(Together(cache.context, speculation), [running.job]):
                while len(tokens) <= most and not self.inbox.has_news:
                    if speculation is not None:
                        draft = speculation.propose(tokens, min(running.room - 1, most - len(tokens), OUTPUTS - 1))
                    batch.clear()
                    batch.add(slot.id, (tokens[-1], *draft), len(slot.tokens), 1 + len(draft))
                    seconds = self._decode(cache)
                    step = Step(running, 0, 1, draft)
                    goes_on = self._advance(step)
                    if speculation is not None:
                        speculation.record(len(draft), step.accepted, seconds)
                        self.stats.drafted_tokens += len(draft)
                        self.stats.accepted_tokens += step.accepted
                    if not goes_on:
                        return
                    if not len(tokens) % GAUGE_EVERY:
                        self._gauge()
        except NoRoomError:
            self._roster.make_room(cache, len(batch))
        except DecodeAbortedError:
            pass  # the loop sees why

    def _fill(self, jobs: list[Running]) -> list[Step]:
        """Put the next tokens of each job into the batch."""
        self._batch.clear()
        answers = [running for running in jobs if running.pending == 1]
        prompts = [running for running in jobs if running.pending > 1]
        counts = [1] * len(answers)
        answering = sum(running.pending == 1 for running in self._roster.running)  # in other caches too
        budget = prompt_budget(self._caches.ubatch - len(answers), answering, self._prefill_rate)
        counts += shares([running.pending for running in prompts], budget)
        steps = []
        for running, count in zip([*answers, *prompts], counts, strict=True):
            if count:
                assert running.slot is not None
                start = len(running.slot.tokens)
                tokens = running.tokens[start : start + count]
                outputs = int(count == running.pending)
                steps.append(Step(running, self._batch.add(running.slot.id, tokens, start, outputs), count))
        return steps

    def _advance(self, step: Step) -> bool:
        """Sample, if all that a job needs for that is decoded; return whether it goes on."""
        try:
            reason = step.running.advance(step)
        except Exception as error:  # of the sampler: the sequence itself is sound
            step.running.forget_guesses()
            self._fail([step.running], error, sound=True)
            return False
        if reason:
            self._finish(step.running, reason)
        return not reason

    def _decode(self, cache: Cache) -> float:
        """Decode the batch; return the seconds it took."""
        started = time.perf_counter()
        cache.decode(self._batch)
        self.stats.decodes += 1
        return time.perf_counter() - started

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
        self.inbox.forget(running.job)
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
