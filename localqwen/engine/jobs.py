"""The one loop that decodes: jobs wait in a queue, and a single thread touches the context.

A job's events go to its sink, which is called in that thread and must only pass them on.
"""

from __future__ import annotations

import logging
import queue
import threading
import time

from localqwen.engine.context import Context, DecodeAbortedError
from localqwen.engine.job import Job
from localqwen.engine.model import Model
from localqwen.engine.plan import UBATCH
from localqwen.engine.sampler import Sampler
from localqwen.engine.text import AnswerText
from localqwen.errors import LocalqwenError
from localqwen.events import AnswerEvent, Delta, Finished, FinishReason, Prefill

log = logging.getLogger(__name__)


class JobLoop:
    """Runs jobs on a context, one after the other. :meth:`run` is the thread; the rest may be called from any."""

    def __init__(self, model: Model, context: Context) -> None:
        self._model = model
        self._context = context
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._running: Job | None = None
        self._open: set[Job] = set()
        self._stopping = False

    def submit(self, job: Job) -> None:
        """Put a job into the queue; one that comes after :meth:`stop` is cancelled at once."""
        with self._lock:
            stopping = self._stopping
            if not stopping:
                self._open.add(job)
                self._queue.put(job)
        if stopping:
            _tell(job, Finished("cancelled", job.usage))

    def cancel(self, job: Job) -> None:
        """Stop a job, in the queue, in prefill or in generation; what it has generated stays generated."""
        job.cancelled.set()
        with self._lock:
            if self._running is job:
                self._context.abort()

    def stop(self) -> None:
        """Cancel every job and end :meth:`run`."""
        with self._lock:
            self._stopping = True
            jobs = list(self._open)
        for job in jobs:
            self.cancel(job)
        self._queue.put(None)

    @property
    def open_jobs(self) -> int:
        """How many jobs wait or run."""
        with self._lock:
            return len(self._open)

    def run(self) -> None:
        """Work until :meth:`stop`. A job that fails takes no other with it."""
        while (job := self._queue.get()) is not None:
            with self._lock:
                self._running = job
                self._context.resume()  # a cancellation from now on is this job's
            finished = self._run_safely(job)
            with self._lock:
                self._running = None
                self._open.discard(job)
            _tell(job, finished)

    def _run_safely(self, job: Job) -> Finished:
        try:
            reason = self._run(job)
            return Finished(reason, job.usage)
        except DecodeAbortedError:
            return Finished("cancelled", job.usage)
        except LocalqwenError as error:
            log.warning("%s", error)
            return Finished("error", job.usage, str(error))
        except Exception as error:
            log.exception("A job failed")
            return Finished("error", job.usage, f"The engine failed on this answer: {error!r}.")

    def _run(self, job: Job) -> FinishReason:
        if job.cancelled.is_set():
            return "cancelled"
        self._prefill(job)
        started = time.perf_counter()
        sampler = Sampler(self._model, job.sampling, job.prompt)
        try:
            return self._generate(job, sampler)
        finally:
            job.decode_seconds = time.perf_counter() - started
            sampler.close()

    def _prefill(self, job: Job) -> None:
        """Decode the part of the prompt that the previous job has not left in the cache, a ubatch at a time."""
        started = time.perf_counter()
        total = len(job.prompt)
        try:
            done = job.cached_tokens = self._context.keep_common_prefix(job.prompt)
            while done < total:
                _tell(job, Prefill(done, total))
                end = min(done + UBATCH, total)
                self._context.decode(job.prompt[done:end], logits=end == total)
                done = end
            _tell(job, Prefill(total, total))
        finally:
            job.prefill_seconds = time.perf_counter() - started

    def _generate(self, job: Job, sampler: Sampler) -> FinishReason:
        answer = AnswerText(job.stops)
        room = self._context.options.size - len(job.prompt)
        limit = min(room, job.max_tokens) if job.max_tokens is not None else room
        reason: FinishReason = "stop"
        try:
            while True:
                token = sampler.sample(self._context.handle, -1)
                if self._model.ends_answer(token):
                    break
                job.completion_tokens += 1
                text, stopped = answer.feed(self._model.piece(token))
                if text:
                    _tell(job, Delta(text))
                if stopped:
                    return "stop"
                if job.completion_tokens >= limit:
                    reason = "length"
                    break
                self._context.decode([token], logits=True)
        except DecodeAbortedError:
            reason = "cancelled"
        if rest := answer.finish():
            _tell(job, Delta(rest))
        return reason


def _tell(job: Job, event: AnswerEvent) -> None:
    try:
        job.sink(event)
    except Exception:  # whoever wanted to know is gone; the loop serves others
        log.debug("A job's sink failed", exc_info=True)
        job.cancelled.set()
