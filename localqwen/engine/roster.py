"""Which jobs run and which wait, and who gives way when the memory is not enough for all of them.

The job that has been running for longest is never made to wait, so that something always comes to its end. A job that
had to give way runs again when another has ended, or when nothing else runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from localqwen.engine.cache import Cache
from localqwen.engine.caches import Caches
from localqwen.engine.context import CacheLostError, NoRoomError
from localqwen.engine.model import Model
from localqwen.engine.prefix import common_prefix
from localqwen.engine.rope import YarnMode, capacity, rope_for
from localqwen.engine.running import Running
from localqwen.errors import OutOfMemoryError

MAX_RUNNING = 8
# What an answer is expected to need, where its limit is not lower: so much the position scaling covers beyond the
# prompt, and jobs that together would need more than there is wait for each other.
EXPECTED_ANSWER = 1024
WORTH_WAITING_FOR = 64  # tokens in common with a prompt that is being computed


class Roster:
    """The open jobs. Only the loop's thread uses it."""

    def __init__(
        self, model: Model, caches: Caches, yarn: YarnMode, fail: Callable[[list[Running], Exception], None]
    ) -> None:
        """``fail`` ends jobs, and calls :meth:`remove` for each."""
        self.waiting: deque[Running] = deque()
        self.running: list[Running] = []  # the one that has been running for longest is the first
        self._model = model
        self._caches = caches
        self._yarn = yarn
        self._fail = fail
        self._ended = 0

    def __iter__(self) -> Iterator[Running]:
        return iter([*self.running, *self.waiting])

    def remove(self, running: Running) -> None:
        """A job is over."""
        if running in self.running:
            self.running.remove(running)
        else:
            self.waiting.remove(running)
        self._ended += 1
        self._caches.retry()

    def admit(self) -> None:
        """Let waiting jobs run, in their order, as far as there is room."""
        for running in list(self.waiting):
            if len(self.running) >= MAX_RUNNING:
                return
            if running.gave_way == self._ended and self.running:
                continue
            if self._is_worth_waiting(running):
                continue
            try:
                cache = self._room_for(running)
                if cache is None:
                    return
                running.begin(cache, self._caches.begin(cache, running.tokens))
            except CacheLostError:
                raise
            except Exception as error:
                self._fail([running], error)
                continue
            self.waiting.remove(running)
            self.running.append(running)

    def covered(self, cache: Cache) -> list[Running]:
        """The jobs of a cache; those that have outgrown its position scaling are sent to wait for another."""
        most = capacity(cache.rope, self._model.window)
        for running in self._of(cache):
            if len(running.tokens) > most:
                self._send_back(running)
        return self._of(cache)

    def make_room(self, cache: Cache, tokens: int) -> None:
        """Do one thing that may make room for a batch of so many ``tokens`` in ``cache``."""
        if self._caches.make_room(cache, tokens):
            return
        jobs = self._of(cache)
        oldest = self.running[0]
        youngest = jobs[-1] if jobs[-1] is not oldest else self.running[-1]
        if youngest is oldest:
            self._fail([oldest], NoRoomError("There is not enough memory for this conversation: use a smaller --ctx."))
            return
        youngest.gave_way = self._ended
        self._send_back(youngest)

    def _of(self, cache: Cache) -> list[Running]:
        return [running for running in self.running if running.cache is cache]

    def _send_back(self, running: Running) -> None:
        """Let a job wait until it can run again; its tokens stay, and what is cached of them as long as it can."""
        running.pause()
        self.running.remove(running)
        self.waiting.appendleft(running)

    def _is_worth_waiting(self, running: Running) -> bool:
        """Whether a prompt that is being computed has a beginning that this one could share when it is done."""
        for other in self.running:
            if other.slot is not None and other.pending > 1:
                common = common_prefix(other.tokens, running.tokens)
                if common - len(other.slot.tokens) >= WORTH_WAITING_FOR:
                    return True
        return False

    def _room_for(self, running: Running) -> Cache | None:
        """The cache that a job can run in now; ``None`` if it has to wait."""
        needed = len(running.tokens) + min(running.room, EXPECTED_ANSWER)
        rope = rope_for(needed, self._model.window, self._yarn)
        try:
            cache = self._caches.get(rope, needed, running.tokens)
        except OutOfMemoryError:
            if not self.running:
                raise
            return None
        if cache is None:
            assert self.running, "the whole budget is enough for any job"
            return None
        others = sum(other.pending + min(other.room, EXPECTED_ANSWER) for other in self._of(cache))
        source, shared = cache.slots.best(running.tokens[:-1])  # as it will begin
        new = needed - (shared if source is not None and source.busy else 0)
        required = cache.slots.cells(busy_only=True) + others + new
        if self._caches.reserve(cache, needed, required) or not self.running:
            return cache
        return None
