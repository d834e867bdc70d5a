"""What is kept of which conversation: sequences in KV caches, one cache for each position scaling, and files.

A conversation that goes on takes its own sequence over; one that branches off shares the cells of what is common. A
cache grows while it may, then the conversations that were not used for longest go to disk.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from localqwen.engine.context import SEQUENCES, Batch, Context, ContextOptions, NoRoomError
from localqwen.engine.model import Model
from localqwen.engine.prefix import Slot, Slots, common_prefix
from localqwen.engine.rope import Rope
from localqwen.engine.states import SavedStates
from localqwen.errors import OutOfMemoryError

START_SIZE = 4096  # cells that a cache begins with
CELLS_AT_ONCE = 256  # llama.cpp rounds to this
# Fewer tokens than these are computed faster than a file is written and read.
WORTH_A_FILE = 512

log = logging.getLogger(__name__)


class Cache:
    """The conversations under one position scaling."""

    def __init__(self, model: Model, options: ContextOptions, states: SavedStates | None) -> None:
        """Allocate. Raises :class:`OutOfMemoryError`."""
        self.context = Context(model, options)
        self.slots = Slots(SEQUENCES)
        self.restored = self.saved = 0
        self._states = states
        self._kv_bytes = model.shape.kv_bytes_per_token
        self._free = options.size  # at least so many cells: counting them after every token would take time

    @property
    def size(self) -> int:
        """Cells that there are."""
        return self.context.options.size

    @property
    def used(self) -> int:
        """Cells that hold something, or a few more."""
        return self.size - self._free

    @property
    def rope(self) -> Rope:
        """The position scaling."""
        return self.context.options.rope

    @property
    def is_busy(self) -> bool:
        """Whether a job works on any of the sequences."""
        return any(slot.busy for slot in self.slots.all)

    def begin(self, tokens: Sequence[int]) -> Slot:
        """A sequence for a job, which holds as much of the beginning of ``tokens`` as can be found.

        At least the last token is left to decode, because its logits are wanted.
        """
        wanted = tokens[:-1]
        source, length = self.slots.best(wanted)
        slot = self._restored(wanted, length)
        if slot is None:
            slot = self._continued(source, length)
        slot.busy = True
        self.slots.touch(slot)
        return slot

    def end(self, slot: Slot) -> None:
        """The job is over; what its sequence holds stays until the room is needed."""
        slot.busy = False
        self.slots.touch(slot)

    def drop(self, slot: Slot) -> None:
        """The job cannot go on now: forget its sequence."""
        slot.busy = False
        self.truncate(slot, 0)

    def truncate(self, slot: Slot, length: int) -> None:
        """Forget all but the first ``length`` tokens of a sequence."""
        if length < len(slot.tokens):
            self.context.truncate(slot.id, length)
            slot.truncate(length)
            self._recount()

    def decode(self, batch: Batch) -> None:
        """As :meth:`Context.decode`, but asks llama.cpp only when there should be room."""
        if len(batch) > self._free:
            self._recount()
        if len(batch) > self._free:
            raise NoRoomError(f"The KV cache of {self.size} tokens is full.")
        self.context.decode(batch)
        self._free -= len(batch)

    def grow(self, cells: int, limit: int) -> bool:
        """Try to have room for ``cells`` more by growing up to ``limit`` cells in all; return whether it grew."""
        wanted = max(2 * self.size, _rounded(self.slots.cells() + cells))
        size = min(wanted, limit)
        if size <= self.size:
            return False
        try:
            self.context.grow(size)
        except OutOfMemoryError as error:
            log.warning("%s", error)
            return False
        finally:
            self._recount()
        return True

    def evict(self, keep: Slot | None = None) -> bool:
        """Send the conversation that was not used for longest to disk; return whether there was one."""
        idle = [slot for slot in reversed(self.slots.idle()) if slot is not keep]
        if not idle:
            return False
        self._save(idle[0])
        self.truncate(idle[0], 0)
        return True

    def save(self, slot: Slot) -> None:
        """Write a conversation that is worth it to disk."""
        self._save(slot)

    def close(self) -> None:
        """Free the KV cache."""
        self.context.close()

    def _recount(self) -> None:
        self._free = self.size - self.slots.cells()

    def _save(self, slot: Slot) -> None:
        if self._states is None or len(slot.tokens) < WORTH_A_FILE:
            return
        # Another sequence that holds nearly the same (a second answer to one question) makes the file unnecessary.
        others = (common_prefix(slot.tokens, other.tokens) for other in self.slots.all if other is not slot)
        if len(slot.tokens) - max(others, default=0) < WORTH_A_FILE:
            return
        self.saved += self._states.save(self.context, slot.id, slot.tokens, self._kv_bytes * len(slot.tokens))

    def _restored(self, wanted: Sequence[int], at_least: int) -> Slot | None:
        """A sequence from disk, if that holds much more of ``wanted`` than memory does."""
        if self._states is None:
            return None
        state, length = self._states.best(self.rope, wanted)
        if state is None or length < at_least + WORTH_A_FILE:
            return None
        slot = self._unused(None)
        while slot is not None and len(state.tokens) > self.size - self.slots.cells():
            if not self.evict():
                slot = None
        if slot is None or not self._states.restore(self.context, slot.id, state):
            return None
        self.restored += 1
        slot.append(state.tokens.tolist())
        self._recount()
        self.truncate(slot, length)
        return slot

    def _continued(self, source: Slot | None, length: int) -> Slot:
        """A sequence that begins with the first ``length`` tokens of ``source``."""
        if source is not None and not source.busy and length == len(source.tokens):
            return source
        slot = self._unused(source)
        if slot is None:  # only the source itself is idle
            assert source is not None and not source.busy, "more jobs than sequences"
            self.truncate(source, length)
            return source
        if source is not None:
            self.context.copy(source.id, slot.id, length)
            slot.share(source, length)
        return slot

    def _unused(self, keep: Slot | None) -> Slot | None:
        if (slot := self.slots.unused()) is None and self.evict(keep):
            slot = self.slots.unused()
        return slot


class Caches:
    """A cache for each position scaling that is in use, with together at most ``budget`` cells."""

    def __init__(self, model: Model, threads: int, budget: int, states: SavedStates | None) -> None:
        self._model = model
        self._threads = threads
        self._states = states
        self._caches: dict[Rope, Cache] = {}
        self._gone = [0, 0]  # states saved and restored by caches that are closed
        self.budget = budget

    def __iter__(self) -> Iterator[Cache]:
        return iter(list(self._caches.values()))

    def get(self, rope: Rope, cells: int) -> Cache | None:
        """The cache for ``rope``, made with room for ``cells`` tokens if there is none.

        ``None`` when the budget is in use by other scalings' jobs. Raises :class:`OutOfMemoryError`.
        """
        if rope in self._caches:
            return self._caches[rope]
        wanted = min(max(START_SIZE, _rounded(cells)), self.budget)
        if wanted > self._left():
            self.close_idle()
        if wanted > self._left():
            return None
        cache = Cache(self._model, ContextOptions(wanted, self._threads, rope), self._states)
        self._caches[rope] = cache
        return cache

    def limit(self, cache: Cache) -> int:
        """How many cells a cache may have now."""
        return cache.size + self._left()

    def make_room(self, cache: Cache, cells: int) -> bool:
        """Do what frees cells in ``cache``, for ``cells`` more; return whether anything could be done."""
        if cache.grow(cells, self.limit(cache)):
            return True
        if cache.size < self.budget and self.close_idle(cache):
            return True
        return cache.evict()

    def close_idle(self, keep: Cache | None = None) -> bool:
        """Send the conversations of scalings without jobs to disk, to have their cells; return whether there were."""
        idle = [cache for cache in self if cache is not keep and not cache.is_busy]
        for cache in idle:
            while cache.evict():
                pass
            self._close(cache)
        return bool(idle)

    def close(self) -> None:
        """Free everything."""
        for cache in self:
            self._close(cache)

    @property
    def saved(self) -> int:
        """How many conversations went to disk."""
        return self._gone[0] + sum(cache.saved for cache in self)

    @property
    def restored(self) -> int:
        """How many came back."""
        return self._gone[1] + sum(cache.restored for cache in self)

    def _close(self, cache: Cache) -> None:
        self._gone = [self._gone[0] + cache.saved, self._gone[1] + cache.restored]
        cache.close()
        del self._caches[cache.rope]

    def _left(self) -> int:
        return self.budget - sum(cache.size for cache in self)


def _rounded(cells: int) -> int:
    return -(-cells // CELLS_AT_ONCE) * CELLS_AT_ONCE
