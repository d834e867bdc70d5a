"""How often a growing answer is painted: as often as it costs a small part of a core, and no oftener than it shows."""

from __future__ import annotations

FRAME_SECONDS = 1 / 30
SLOWEST_FRAME_SECONDS = 0.25
# Of the time between two frames, painting may take a part; more of it when much text waits, so that a fast model is
# not seen to stutter.
CALM_PART, BUSY_PART = 0.025, 0.15
BUSY_CHARACTERS = 40
# A frame that was interrupted by something else costs more than it does: what is known changes slowly.
INERTIA = 0.7


class Pacer:
    """Decides when the next frame is due. Times are in seconds of one clock."""

    def __init__(self) -> None:
        self._last = 0.0
        self._cost = 0.0

    def wait(self, now: float, characters: int) -> float:
        """How long to wait for the next frame when so many characters are not painted yet; 0 if it is due."""
        part = BUSY_PART if characters >= BUSY_CHARACTERS else CALM_PART
        interval = min(max(FRAME_SECONDS, self._cost / part), SLOWEST_FRAME_SECONDS)
        return max(0.0, self._last + interval - now)

    def begin(self, now: float) -> None:
        """A frame is painted now."""
        self._last = now

    def end(self, cost: float) -> None:
        """It took so much of a core's time, in seconds."""
        self._cost = cost if not self._cost else INERTIA * self._cost + (1 - INERTIA) * cost
