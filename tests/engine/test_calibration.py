"""After a benchmark, the cost model says what the benchmark said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localqwen.engine.calibration import calibrated
from localqwen.engine.candidate import Key, Wishes
from localqwen.engine.machine import Device
from localqwen.engine.search import Search
from localqwen.engine.speed import Work
from tests.engine.machines import QWEN2_05B, cpu, gpu

TOTAL = QWEN2_05B.layers + 1
KEY = Key(8192, "f16", 512, "part")


def predicted(host: Device, cards: list[Device], counts: tuple[int, ...]) -> tuple[float, float]:
    """Tokens per second of prefill and decode."""
    candidate = Search(QWEN2_05B, cards, host, Wishes(), 32768, 131072).scored(KEY, counts)
    return 1 / candidate.prefill, 1 / candidate.decode


@settings(deadline=None)
@given(st.integers(0, TOTAL), st.integers(0, TOTAL), st.floats(0.2, 1.02), st.floats(0.8, 1.02))
def test_the_model_says_what_was_measured(first: int, second: int, prompts: float, answers: float) -> None:
    low, high = sorted((first, second))
    counts = (low, high - low, TOTAL - high)
    host, cards = cpu(8), [gpu(0, 8), gpu(1, 8, 400e9)]
    before = predicted(host, cards, counts)
    # What was wrong is one device's doing, so no more than it takes can be saved; and weights that are read slowly for
    # an answer are read slowly for a prompt.
    measured = before[0] * prompts, before[1] * answers
    work = Work(QWEN2_05B, KEY.context, KEY.kv_type, KEY.ubatch)
    used = [card for card, count in zip(cards, counts[1:], strict=True) if count]
    speeds = calibrated(work, host, used, [low, *(count for count in counts[1:] if count)], *measured)
    host, *cards = [replace(device, speed=speeds.get(device.name, device.speed)) for device in (host, *cards)]
    assert predicted(host, cards, counts) == pytest.approx(measured, rel=1e-6)


def test_the_slowest_device_is_to_blame() -> None:
    host, card = cpu(8), gpu(0, 8)
    work = Work(QWEN2_05B, KEY.context, KEY.kv_type, KEY.ubatch)
    prefill, decode = predicted(host, [card], (15, 10))
    speeds = calibrated(work, host, [card], [15, 10], prefill, decode / 2)
    assert speeds[host.name].read < host.speed.read
    assert card.name not in speeds or speeds[card.name].read == card.speed.read
