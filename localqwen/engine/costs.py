"""What a ``llama_decode`` of several tokens costs, against one of a single token. Pure: times are handed in.

Decoding more tokens at once is nearly free while memory bandwidth is what limits (a GPU, a large model), and is paid
for token by token where arithmetic limits (a CPU). It is no straight line either: kernels work in blocks, so 8 tokens
may take less time than 7. Hence it is measured while answers are generated, and not assumed.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Sequence
from itertools import pairwise

SAMPLES = 5  # of which the median counts: a machine that does something else for a moment changes nothing
ENOUGH = 2  # samples of a length; with fewer it is thought as cheap as shorter ones suggest, and tried again
PLAIN_EVERY = 32  # decodes of several tokens until the single one, which they are compared with, is measured again
FORGOTTEN = 512  # decodes after which a figure is measured anew: it may have been bad luck
# Of lengths not measured yet. Too low is better than too high: then they are tried, and known.
FIRST_SLOPE, LATER_SLOPE, STEEPEST = 0.1, 0.5, 0.25


class StepCosts:
    """Running estimates for one model on one machine; one object for all jobs of an engine.

    Attention makes a deep context's tokens dearer, so that figures are kept apart by depth: up to 512 tokens, 1536,
    3584 and so on. A depth without figures borrows those of the nearest.
    """

    def __init__(self) -> None:
        self._plain: dict[int, deque[float]] = {}
        self._since_plain: dict[int, int] = {}
        self._ratios: dict[int, dict[int, deque[float]]] = {}  # by tokens decoded, then by depth
        self._measured_at: dict[tuple[int, int], int] = {}
        self._curves: dict[int, list[float]] = {}
        self._decodes = 0

    def record(self, count: int, depth: int, seconds: float) -> None:
        """Take note of a ``llama_decode`` of ``count`` tokens after ``depth`` that took ``seconds``."""
        band = _band(depth)
        self._decodes += 1
        if count == 1:
            self._plain.setdefault(band, deque(maxlen=SAMPLES)).append(seconds)
            self._since_plain[band] = 0
            return
        self._since_plain[band] = self._since_plain.get(band, 0) + 1
        plain = self.plain(depth)
        if plain is None or plain <= 0:
            return
        self._ratios.setdefault(count, {}).setdefault(band, deque(maxlen=SAMPLES)).append(seconds / plain)
        self._measured_at[count, band] = self._decodes
        self._curves.clear()

    def plain(self, depth: int) -> float | None:
        """Seconds of a ``llama_decode`` of one token, or ``None`` while that is unknown."""
        if not self._plain:
            return None
        return statistics.median(self._plain[_nearest(self._plain, _band(depth))])

    def wants_plain(self, depth: int) -> bool:
        """Whether a single token should be decoded next, so that there is something to compare with."""
        band = _band(depth)
        return len(self._plain.get(band, ())) < SAMPLES or self._since_plain[band] >= PLAIN_EVERY

    @property
    def longest(self) -> int:
        """The most tokens at once that were measured, 1 at first."""
        return max(self._ratios, default=1)

    def curve(self, depth: int, most: int) -> Sequence[float]:
        """How many times as long as one token ``i + 1`` tokens take, for ``i`` below ``most`` or further."""
        band = _band(depth)
        curve = self._curves.get(band)
        if curve is None or len(curve) < most:
            curve = self._curves[band] = _interpolated(self._known(band), most)
        return curve

    def worst(self, count: int, depth: int) -> float:
        """How many times as long as one token ``count`` tokens take at most, to be careful with.

        A length that was not measured is as dear a token as the longest that was. A single sample that says more than
        twice ``count`` is taken for a hiccup of the machine.
        """
        bands = self._ratios.get(count)
        if not bands:
            below = max((known for known in self._ratios if known < count), default=1)
            return self.worst(below, depth) * count / below if below > 1 else float(count)
        samples = bands[_nearest(bands, _band(depth))]
        ratio = max(1.0, statistics.median_low(samples))
        return ratio if len(samples) >= ENOUGH else min(ratio, 2.0 * count)

    def _known(self, band: int) -> list[tuple[int, float]]:
        known = [(1, 1.0)]
        for count in sorted(self._ratios):
            bands = self._ratios[count]
            nearest = _nearest(bands, band)
            if self._decodes - self._measured_at[count, nearest] < FORGOTTEN:
                ratio = max(1.0, statistics.median_low(bands[nearest]))
                if len(bands[nearest]) < ENOUGH:
                    ratio = min(ratio, _extrapolated(known, count))
                known.append((count, ratio))
        return known


def _interpolated(known: Sequence[tuple[int, float]], most: int) -> list[float]:
    curve = [1.0]
    for (low, low_ratio), (high, high_ratio) in pairwise(known):
        slope = (high_ratio - low_ratio) / (high - low)
        curve += [low_ratio + slope * (count - low) for count in range(low + 1, high + 1)]
    return curve + [_extrapolated(known, count) for count in range(len(curve) + 1, most + 1)]


def _extrapolated(known: Sequence[tuple[int, float]], count: int) -> float:
    last, ratio = known[-1]
    slope = min(STEEPEST, LATER_SLOPE * (ratio - 1) / (last - 1)) if last > 1 else FIRST_SLOPE
    return ratio + slope * (count - last)


def _band(depth: int) -> int:
    return ((depth >> 9) + 1).bit_length()


def _nearest(bands: dict[int, deque[float]], band: int) -> int:
    return band if band in bands else min(bands, key=lambda other: abs(other - band))
