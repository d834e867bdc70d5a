"""What is kept of which conversation under one position scaling: sequences in a KV cache, and files.

A conversation that goes on takes its own sequence over; one that branches off shares the cells of what is common. A
cache grows while it may, then the conversations that were not used for longest go to disk.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from localqwen.engine.context import SEQUENCES, Batch, Context, ContextOptions, NoRoomError
from localqwen.engine.model import Model
from localqwen.engine.prefix import Slot, Slots, common_prefix
from localqwen.engine.rope import Rope
from localqwen.engine.shape import kv_bytes, rounded
from localqwen.engine.states import SavedStates
from localqwen.errors import OutOfMemoryError

# Fewer tokens than these are computed faster than a file is written and read.
WORTH_A_FILE = 512

log = logging.getLogger(__name__)


class Cache:
    """The conversations under one position scaling."""

    def __init__(
        self,
        model: Model,
        options: ContextOptions,
        states: SavedStates | None,
        allowed: Callable[[int, int], bool] = lambda state, more: True,
    ) -> None:
        """Allocate; ``allowed`` is asked before growing, with the bytes in use and those that come on top of all.

        Raises :class:`OutOfMemoryError`.
        """
        self.context = Context(model, options)
        self.slots = Slots(SEQUENCES)
        self.restored = self.saved = 0
        self._states = states
        self._kv_bytes = model.layers * kv_bytes(model.kv_width, options.kv_type)
        self._allowed = allowed
        self._most: int | None = None  # cells: growing beyond has failed
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
    def is_lost(self) -> bool:
        """Whether there is nothing any more, because it could not be moved."""
        return self.context.handle is None

    @property
    def is_busy(self) -> bool:
        """Whether a job works on any of the sequences."""
        return any(slot.busy for slot in self.slots.all)

    def begin(self, tokens: Sequence[int], limit: int = 0) -> Slot:
        """A sequence for a job, which holds as much of the beginning of ``tokens`` as can be found.

        At least the last token is left to decode, because its logits are wanted. The cache may grow to ``limit`` cells
        for what is on disk.
        """
        wanted = tokens[:-1]
        _, length = self.slots.best(wanted)
        slot = self._restored(wanted, length, limit)
        if slot is None:
            slot = self._continued(*self.slots.best(wanted))  # what was the best may have gone to disk
        slot.busy = True
        self.slots.touch(slot)
        return slot

    def known(self, wanted: Sequence[int]) -> int:
        """How much of the beginning of ``wanted`` is here or in a file."""
        in_file = self._states.best(self.rope, wanted)[1] if self._states is not None else 0
        return max(in_file, self.slots.best(wanted)[1])

    def adopt(self, tokens: Sequence[int], state: bytearray, computed: Rope, limit: int) -> bool:
        """Take a sequence over that was computed under another scaling and turned to this one's."""
        slot = self._empty(len(tokens), limit)
        if slot is None or not self.context.fill(slot.id, state):
            return False
        slot.append(tokens)
        slot.computed = computed
        self.slots.touch(slot)
        self._recount()
        return True

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
            if not self.is_lost:
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
        """Try to have room for ``cells`` more by growing up to ``limit`` cells in all; return whether it grew.

        Raises :class:`~localqwen.engine.context.CacheLostError`.
        """
        wanted = max(2 * self.size, rounded(self.slots.cells() + cells))
        size = min(wanted, limit, self._most or limit)
        if size <= self.size:
            return False
        if not self._allowed(self._kv_bytes * self.slots.cells(), self._kv_bytes * (size - self.size)):
            self._most = self.size
            return False
        try:
            self.context.grow(size)
        except OutOfMemoryError as error:
            log.warning("%s", error)
            self._most = self.size
            return False
        self._recount()
        return True

    def retry(self) -> None:
        """Growing may be tried again, even if it has failed."""
        self._most = None

    def evict(self, keep: Slot | None = None) -> bool:
        """Send the conversation that was not used for longest to disk; return whether there was one."""
        idle = [slot for slot in reversed(self.slots.idle()) if slot is not keep]
        if not idle:
            return False
        self._save(idle[0], [slot for slot in self.slots.all if slot is not idle[0]])
        self.truncate(idle[0], 0)
        return True

    def save_all(self, deadline: float, most: int) -> int:
        """Write what nobody works on to disk, the most recently used first, until ``deadline`` (monotonic seconds).

        At most ``most`` bytes are written; what is left of them is returned.
        """
        written: list[Slot] = []
        for slot in self.slots.idle():
            size = self._kv_bytes * len(slot.tokens)
            if size <= most and time.monotonic() < deadline and not self.is_lost:
                self._save(slot, written)
                written.append(slot)
                most -= size
        return most

    def close(self) -> None:
        """Free the KV cache."""
        self.context.close()

    def _recount(self) -> None:
        self._free = self.size - self.slots.cells()

    def _save(self, slot: Slot, beside: Sequence[Slot]) -> None:
        """Write a sequence that is worth it to disk; ``beside`` are those that are kept."""
        if self._states is None or len(slot.tokens) < WORTH_A_FILE:
            return
        # Another sequence that holds nearly the same (a second answer to one question) makes the file unnecessary.
        shared = max((common_prefix(slot.tokens, other.tokens) for other in beside), default=0)
        if len(slot.tokens) - shared < WORTH_A_FILE:
            return
        self.saved += self._states.save(
            self.context, slot.id, slot.tokens, self._kv_bytes * len(slot.tokens), slot.computed
        )

    def _restored(self, wanted: Sequence[int], at_least: int, limit: int) -> Slot | None:
        """A sequence from disk, if that holds much more of ``wanted`` than memory does."""
        if self._states is None:
            return None
        state, length = self._states.best(self.rope, wanted)
        if state is None or length < at_least + WORTH_A_FILE:
            return None
        slot = self._empty(len(state.tokens), limit)
        if slot is None or not self._states.restore(self.context, slot.id, state):
            return None
        self.restored += 1
        slot.append(state.tokens.tolist())
        slot.computed = state.computed
        self._recount()
        self.truncate(slot, length)
        return slot

    def _empty(self, cells: int, limit: int) -> Slot | None:
        """An unused sequence, and so many free cells beside it: the cache grows, or what is idle goes to disk."""
        if cells + self.slots.cells(busy_only=True) > max(self.size, limit):
            return None  # and nothing else has to go in vain
        slot = self._unused(None)
        while slot is not None and cells > self.size - self.slots.cells():
            if not self.grow(cells, limit) and not self.evict():
                return None
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
