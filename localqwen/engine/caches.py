"""A KV cache for each position scaling that is in use, and conversations that move from one to the next.

A conversation that outgrows its scaling is computed again under a larger one, unless that is so close that its K may be
turned instead (:mod:`localqwen.engine.rerope`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from localqwen.engine.cache import WORTH_A_FILE, Cache
from localqwen.engine.context import ContextOptions
from localqwen.engine.model import Model
from localqwen.engine.prefix import Slot, common_prefix
from localqwen.engine.rerope import KeyShape, StateError, close_enough, rerope
from localqwen.engine.rope import Rope
from localqwen.engine.shape import rounded
from localqwen.engine.states import SavedStates
from localqwen.errors import OutOfMemoryError

START_SIZE = 4096  # cells that a cache begins with
WORTH_MOVING = WORTH_A_FILE  # tokens; fewer are computed again
# Those whose K llama.cpp rotates in NEOX order, as rerope does.
ARCHITECTURES = {"qwen2", "qwen2moe"}
# Keys that change the angles or the stretch in ways that are not known here.
FOREIGN_KEYS = ("yarn_ext_factor", "attn_factor", "yarn_attn_factor", "yarn_log_multiplier")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Moving:
    """The beginning of a conversation on its way from ``rope`` to ``target``, first ``computed`` under another yet."""

    tokens: Sequence[int]
    state: bytearray
    rope: Rope
    target: Rope
    computed: Rope


class Caches:
    """A cache for each position scaling that is in use, with together at most ``options.size`` cells."""

    def __init__(
        self,
        model: Model,
        options: ContextOptions,
        states: SavedStates | None,
        allowed: Callable[[int, int], bool] = lambda state, more: True,
        start: int | None = None,
    ) -> None:
        """``allowed`` is as in :class:`Cache`; a cache begins with ``start`` cells, or a few thousand."""
        self._model = model
        self._allowed = allowed
        self._options = options
        self._start = start or START_SIZE
        self._states = states
        self._caches: dict[Rope, Cache] = {}
        self._gone = [0, 0]  # states saved and restored by caches that are closed
        self._shape = key_shape(model)
        self._moving: _Moving | None = None
        self.budget = options.size
        self.turned = 0  # conversations that another scaling's cache took over

    @property
    def ubatch(self) -> int:
        """How many tokens are computed at once."""
        return self._options.ubatch

    def __iter__(self) -> Iterator[Cache]:
        return iter(list(self._caches.values()))

    def get(self, rope: Rope, cells: int, tokens: Sequence[int] = ()) -> Cache | None:
        """The cache for ``rope``, made with room for ``cells`` tokens if there is none.

        ``tokens`` are those that it is wanted for. ``None`` when the budget is in use by other scalings' jobs. Raises
        :class:`OutOfMemoryError`.
        """
        if rope in self._caches:
            return self._caches[rope]
        wanted = min(max(self._start, rounded(cells)), self.budget)
        if wanted > self._left():
            idle = sum(cache.size for cache in self if not cache.is_busy)
            if wanted > self._left() + idle:
                return None
            self._moving = self._taken(rope, tokens, WORTH_MOVING)  # before it is closed
            self.close_idle()
        options = replace(self._options, size=wanted, rope=rope)
        try:
            cache = Cache(self._model, options, self._states, self._allowed)
        except OutOfMemoryError:
            # A card that was planned full to the brim has no room for a second one's activations.
            if not self.close_idle():
                if self._caches:
                    return None
                raise
            return self.get(rope, cells, tokens)
        self._caches[rope] = cache
        return cache

    def begin(self, cache: Cache, tokens: Sequence[int]) -> Slot:
        """As :meth:`Cache.begin`, but also looks at what other scalings' caches have."""
        wanted = tokens[:-1]
        moving, self._moving = self._moving, None
        at_least = cache.known(wanted) + WORTH_MOVING
        if moving is None or moving.target != cache.rope or common_prefix(moving.tokens, wanted) < at_least:
            moving = self._taken(cache.rope, wanted, at_least)
        if moving is not None:
            self._move(moving, cache)
        return cache.begin(tokens, self.limit(cache))

    def reserve(self, cache: Cache, cells: int, required: int) -> bool:
        """Grow for ``cells`` more; return whether there are ``required`` cells, if everything idle gives way."""
        if cache.size < required:
            idle = sum(other.size for other in self if other is not cache and not other.is_busy)
            if self.limit(cache) < required <= self.limit(cache) + idle:
                self.close_idle(cache)
            cache.grow(cells, self.limit(cache))
        return cache.size >= required

    def retry(self) -> None:
        """Growing may be tried again, even where it has failed."""
        for cache in self:
            cache.retry()

    def limit(self, cache: Cache) -> int:
        """How many cells a cache may have now."""
        return cache.size + self._left()

    def make_room(self, cache: Cache, cells: int) -> bool:
        """Do what frees cells in ``cache``, for ``cells`` more; return whether anything could be done."""
        if cache.grow(cells, self.limit(cache)):
            return True
        if cache.size < self.budget and self.close_idle(cache):
            cache.retry()
            return True
        return cache.evict()

    def close_idle(self, keep: Cache | None = None) -> bool:
        """Send the conversations of scalings without jobs to disk, to have their cells; return whether there were."""
        idle = [cache for cache in self if cache is not keep and not cache.is_busy]
        for cache in idle:
            while cache.evict():
                pass
            self.forget(cache)
        return bool(idle)

    def forget(self, cache: Cache) -> None:
        """Free a cache with what is in it."""
        self._gone = [self._gone[0] + cache.saved, self._gone[1] + cache.restored]
        cache.close()
        del self._caches[cache.rope]

    def close(self) -> None:
        """Free everything."""
        for cache in self:
            self.forget(cache)

    @property
    def saved(self) -> int:
        """How many conversations went to disk."""
        return self._gone[0] + sum(cache.saved for cache in self)

    @property
    def restored(self) -> int:
        """How many came back."""
        return self._gone[1] + sum(cache.restored for cache in self)

    def _taken(self, rope: Rope, wanted: Sequence[int], at_least: int) -> _Moving | None:
        """A copy of the cached sequence that begins most like ``wanted``, of those that may be turned to ``rope``."""
        if self._shape is None:
            return None
        best: tuple[int, Cache, Slot] | None = None
        for cache in self:
            if cache.rope != rope:
                for slot in cache.slots.all:
                    if slot.tokens and close_enough(slot.computed or cache.rope, rope):
                        length = common_prefix(slot.tokens, wanted)
                        if length >= at_least and (best is None or length > best[0]):
                            best = length, cache, slot
        if best is None:
            return None
        _, cache, slot = best
        state = cache.context.sequence_state(slot.id)
        return _Moving(list(slot.tokens), state, cache.rope, rope, slot.computed or cache.rope)

    def _move(self, moving: _Moving, cache: Cache) -> None:
        assert self._shape is not None
        try:
            rerope(moving.state, self._shape, moving.rope, cache.rope)
        except StateError as error:  # then it is computed again
            log.warning("A conversation's cache could not be turned: %s", error)
            return
        self.turned += cache.adopt(moving.tokens, moving.state, moving.computed, self.limit(cache))

    def _left(self) -> int:
        return self.budget - sum(cache.size for cache in self)


def key_shape(model: Model) -> KeyShape | None:
    """What :func:`rerope` has to know, or ``None`` for a model whose K it cannot turn."""

    def number(key: str, default: float) -> float:
        value = model.metadata(f"{model.architecture}.rope.{key}")
        return float(value) if value is not None else default

    width = model.head_width
    if (
        model.architecture not in ARCHITECTURES
        or number("dimension_count", width) != width
        or any(model.metadata(f"{model.architecture}.rope.scaling.{key}") is not None for key in FOREIGN_KEYS)
    ):
        return None
    betas = number("scaling.yarn_beta_fast", 32), number("scaling.yarn_beta_slow", 1)
    return KeyShape(width, number("freq_base", 10000), *betas)
