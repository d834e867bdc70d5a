"""Speculation never costs much and wins nearly what there is to win, on simulated machines and texts."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localqwen.engine.costs import StepCosts
from localqwen.engine.speculation import Speculation

MAX_DRAFT = 15
# Measured: SmolLM2-135M, Q4_K_M, 2 cores of a Xeon, empty cache and 2048 tokens deep. Blocks of 8 and 4 show.
CPU = (1, 1.68, 1.97, 2.24, 2.94, 3.47, 3.54, 2.92, 3.64, 3.79, 4.10, 3.65, 4.52, 4.61, 4.83, 4.28)
CPU_DEEP = (1, 1.71, 2.27, 2.78, 3.39, 3.81, 4.26, 4.27, 5.11, 5.51, 6.18, 6.03, 6.94, 7.22, 7.77, 7.79)
CPU_ONE_THREAD = (1, 2.63, 3.09, 3.62, 4.79, 5.25, 5.78, 4.99, 6.16, 6.51, 7.10, 6.24, 7.46, 7.84, 8.42, 7.32)
CURVES: dict[str, Sequence[float]] = {
    "memory-bound": [1 + 0.02 * n for n in range(16)],
    "half and half": [1 + 0.15 * n for n in range(16)],
    "compute-bound": [1 + 0.6 * n for n in range(16)],
    "no gain at all": [1.0 + n for n in range(16)],
    "worse than one by one": [1 + 1.5 * n for n in range(16)],
    "cpu": CPU,
    "cpu, deep": CPU_DEEP,
    "cpu, one thread": CPU_ONE_THREAD,
}
TEXTS: dict[str, Callable[[random.Random, int], list[bool]]] = {
    "never": lambda rng, n: [False] * n,
    "always": lambda rng, n: [True] * n,
    "rarely": lambda rng, n: [rng.random() < 0.2 for _ in range(n)],
    "often": lambda rng, n: [rng.random() < 0.8 for _ in range(n)],
    "by turns": lambda rng, n: [i % 2 == 0 for i in range(n)],
    "bursts": lambda rng, n: [i // 40 % 2 == 0 for i in range(n)],
    "a burst, then never": lambda rng, n: [i < 100 for i in range(n)],
    "short bursts": lambda rng, n: [i % 12 < 5 for i in range(n)],
}


class Oracle:
    """Knows the text, and guesses right where it is told to."""

    priors: Sequence[tuple[float, float]] = ((0.6, 0.85),)

    def __init__(self, holds: Sequence[bool], each: float = 0.0) -> None:
        """``each`` is the seconds that a guessed token takes."""
        self._holds, self._each = holds, each
        self.free = not each
        self.spent = 0.0

    def abort(self) -> None:
        pass

    def resume(self) -> None:
        pass

    def confidence(self, tokens: Sequence[int]) -> int | None:
        return 0

    def draft(self, tokens: Sequence[int], limit: int) -> Sequence[int]:
        self.spent += self._each * limit
        places = range(len(tokens), len(tokens) + limit)
        return [i if i < len(self._holds) and self._holds[i] else -1 for i in places]


@dataclass
class Machine:
    """Says what a decode takes: ``plain`` seconds times the curve, now and then far more."""

    curve: Sequence[float]
    rng: random.Random
    plain: float = 0.05
    noise: float = 0.0
    hiccups: float = 0.0

    def seconds(self, count: int) -> float:
        factor = self.rng.lognormvariate(0, self.noise) * (6 if self.rng.random() < self.hiccups else 1)
        return self.plain * self.curve[count - 1] * factor


def simulate(machine: Machine, holds: Sequence[bool], costs: StepCosts, each: float = 0.0) -> float:
    """Seconds to generate a text without noise, with :class:`Speculation` deciding on what it sees with noise."""
    drafter = Oracle(holds, each)
    speculation = Speculation(costs, drafter, MAX_DRAFT)
    tokens = [0]
    seconds = 0.0
    while len(tokens) < len(holds):
        room = len(holds) - len(tokens) - 1
        draft = speculation.propose(tokens, room)
        assert len(draft) <= min(room, MAX_DRAFT)
        accepted = 0
        while accepted < len(draft) and draft[accepted] == len(tokens) + accepted:
            accepted += 1
        tokens += range(len(tokens), len(tokens) + accepted + 1)
        seconds += machine.plain * machine.curve[len(draft)]
        speculation.record(len(draft), accepted, machine.seconds(1 + len(draft)))
    return seconds + drafter.spent


def fixed(machine: Machine, holds: Sequence[bool], length: int, each: float = 0.0) -> float:
    """Seconds with drafts of always the same length."""
    at, seconds = 1, 0.0
    while at < len(holds):
        drafted = min(length, len(holds) - at - 1)
        accepted = 0
        while accepted < drafted and holds[at + accepted]:
            accepted += 1
        at += accepted + 1
        seconds += machine.plain * machine.curve[drafted] + each * drafted
    return seconds


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("curve", CURVES)
def test_never_much_slower_than_plain(curve: str, text: str) -> None:
    for length in (200, 1000):
        holds = TEXTS[text](random.Random(length), length)
        machine = Machine(CURVES[curve], random.Random(0))
        plain = fixed(machine, holds, 0)
        assert simulate(machine, holds, StepCosts()) <= plain / 0.97
        noisy = []
        for seed in range(8):
            machine = Machine(CURVES[curve], random.Random(seed), noise=0.05, hiccups=0.02)
            noisy.append(simulate(machine, holds, StepCosts()))
        assert sum(noisy) / len(noisy) <= plain / 0.97
        assert max(noisy) <= plain / 0.92


@given(
    st.lists(st.floats(0, 1.2), min_size=MAX_DRAFT, max_size=MAX_DRAFT),
    st.lists(st.tuples(st.booleans(), st.integers(1, 60)), min_size=1, max_size=40),
    st.integers(200, 800),
)
@settings(max_examples=100, deadline=None)
def test_never_much_slower_whatever_comes(steps: list[float], runs: list[tuple[bool, int]], length: int) -> None:
    curve = [1.0]
    for step in steps:
        curve.append(curve[-1] + step)
    text = [hold for hold, count in runs for _ in range(count)]
    holds = (text * length)[:length]
    machine = Machine(curve, random.Random(0))
    assert simulate(machine, holds, StepCosts()) <= fixed(machine, holds, 0) / 0.97


@pytest.mark.parametrize("text", ["always", "often", "bursts"])
@pytest.mark.parametrize("curve", ["memory-bound", "half and half", "compute-bound", "cpu", "cpu, deep"])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_nearly_the_best_fixed_length(curve: str, text: str, noise: float) -> None:
    ratios = []
    for seed in range(5):
        rng = random.Random(seed)
        machine = Machine(CURVES[curve], rng, noise=noise, hiccups=noise / 2)
        holds = TEXTS[text](rng, 1500)
        best = min(fixed(machine, holds, length) for length in range(MAX_DRAFT + 1))
        costs = StepCosts()
        simulate(machine, TEXTS["always"](rng, 500), costs)  # the engine's first answer teaches it the machine
        ratios.append(best / simulate(machine, holds, costs))
    assert sum(ratios) / len(ratios) >= 0.9


@pytest.mark.parametrize("each", [0.002, 0.02, 0.1])
@pytest.mark.parametrize("text", TEXTS)
def test_a_drafter_that_takes_time(text: str, each: float) -> None:
    holds = TEXTS[text](random.Random(0), 1000)
    machine = Machine(CURVES["memory-bound"], random.Random(0))
    costs = StepCosts()
    simulate(machine, TEXTS["always"](random.Random(0), 500), costs, each)
    seconds = simulate(machine, holds, costs, each)
    assert seconds <= fixed(machine, holds, 0) / 0.97
    if text in {"always", "often"}:
        best = min(fixed(machine, holds, length, each) for length in range(MAX_DRAFT + 1))
        assert best / seconds >= 0.9


def test_a_single_token_is_measured_now_and_then() -> None:
    costs = StepCosts()
    speculation = Speculation(costs, Oracle([True] * 10_000))
    tokens, plain = [0], 0
    for _ in range(300):
        draft = speculation.propose(tokens, 15)
        plain += not draft
        tokens += range(len(tokens), len(tokens) + len(draft) + 1)
        speculation.record(len(draft), len(draft), 1.0)
    assert 10 <= plain <= 40


def test_no_room_no_draft() -> None:
    speculation = Speculation(StepCosts(), Oracle([True] * 100))
    for length in range(1, 50):
        assert not speculation.propose(list(range(length)), 0)
        speculation.record(0, 0, 1.0)


def test_costs_between_and_beyond_what_was_measured() -> None:
    costs = StepCosts()
    for _ in range(5):
        costs.record(1, 0, 0.1)
    for _ in range(3):
        costs.record(2, 0, 0.15)
        costs.record(4, 0, 0.2)
    curve = costs.curve(0, 16)
    assert curve[:4] == pytest.approx([1, 1.5, 1.75, 2])
    assert all(one < next_ < one + 0.3 for one, next_ in pairwise(curve[3:]))
    assert costs.worst(8, 0) == pytest.approx(4)


def test_a_hiccup_changes_nothing() -> None:
    costs = StepCosts()
    for count in (1, 1, 1, 1, 1, 8, 8, 8, 8, 8):
        costs.record(count, 0, 0.1 if count == 1 else 0.2)
    before = costs.curve(0, 8)[7]
    costs.record(1, 0, 9.0)
    costs.record(8, 0, 9.0)
    assert costs.plain(0) == pytest.approx(0.1)
    assert costs.curve(0, 8)[7] == pytest.approx(before)


def test_depths_are_kept_apart_and_lent_out() -> None:
    costs = StepCosts()
    for _ in range(5):
        costs.record(1, 100, 0.1)
        costs.record(8, 100, 0.2)
    assert costs.plain(5000) == pytest.approx(0.1)
    assert costs.curve(5000, 8)[7] == pytest.approx(2)
    assert costs.wants_plain(5000)
    for _ in range(5):
        costs.record(1, 5000, 0.2)
        costs.record(8, 5000, 1.0)
    assert not costs.wants_plain(5000)
    assert costs.curve(5000, 8)[7] == pytest.approx(5)
    assert costs.curve(100, 8)[7] == pytest.approx(2)
