"""When cycles of dead objects are looked for: a little at a time, and all at once only when nobody looks.

A full collection walks over every object that is not frozen, and stops the app for a tenth of a second once a few long
answers have been read. Textual makes such cycles in every frame (``Strip.divide`` remembers that a strip of the whole
width divides into itself), so that collections cannot be left out.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

# What has been frozen since is worth a search for cycles that have died in it.
MANY_OBJECTS = 50_000
AWAY_SECONDS = 15.0


class Collector:
    """Freezes what outlives a full collection, so that the next one walks only over what has come since."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._touched = clock()
        self._thawed_at = 0

    def begin(self) -> None:
        """Freeze what is there, which the start has made and which mostly stays, and let collections begin."""
        gc.freeze()
        gc.callbacks.append(self._collected)
        gc.enable()
        self._thawed_at = gc.get_freeze_count()

    def end(self) -> None:
        """Freeze nothing more. What is frozen stays so: thawed, it would hold up the end of the process."""
        if self._collected in gc.callbacks:
            gc.callbacks.remove(self._collected)

    def touched(self) -> None:
        """Somebody types, or an answer comes."""
        self._touched = self._clock()

    def look(self) -> bool:
        """Search everything, if it is worth it and nobody has been there for a while; tell whether."""
        is_away = self._clock() - self._touched >= AWAY_SECONDS
        if not is_away or self._collected not in gc.callbacks:
            return False
        if gc.get_freeze_count() - self._thawed_at < MANY_OBJECTS:
            return False
        gc.unfreeze()
        gc.collect()
        self._thawed_at = gc.get_freeze_count()
        return True

    def _collected(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "stop" and info["generation"] == 2:
            gc.freeze()
