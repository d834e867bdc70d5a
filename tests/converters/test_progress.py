"""Progress: sums, files, rate and time left."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from converters.progress import Pace, Progress, Tracker, TypeShare, shares

PIECES = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(1, 1000)), min_size=1)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(pieces=PIECES, split=st.integers(0, 20))
def test_what_was_done_before_and_now_adds_up_in_all_and_in_every_file(
    pieces: list[tuple[str, int]], split: int
) -> None:
    tracker = Tracker(pieces, pieces[:split])
    before = tracker.before()
    assert (before.done if before else 0) == sum(size for _, size in pieces[:split])
    steps = [tracker.finished(file, size, "tensor") for file, size in pieces[split:]]
    totals: Counter[str] = Counter()
    for file, size in pieces:
        totals[file] += size
    for step in steps:
        assert step.total == totals.total()
        assert step.file_total == totals[step.file]
        assert 0 < step.file_done <= step.file_total
    last = {step.file: step.file_done for step in steps}
    assert all(done == totals[file] for file, done in last.items())
    if steps:
        assert steps[-1].done == totals.total()


def test_the_rate_counts_this_run_only() -> None:
    clock = Clock()
    tracker = Tracker([("a", 1000), ("b", 3000)], [("a", 1000)], clock)
    assert tracker.before() == Progress(1000, 4000, "")
    clock.now = 2.0
    step = tracker.finished("b", 1000, "t")
    assert (step.rate, step.seconds_left) == (500.0, 4.0)
    assert (step.done, step.file_done, step.file_total) == (2000, 1000, 3000)


def test_the_rate_follows_a_change_of_speed() -> None:
    clock, done = Clock(), 0
    pace = Pace(clock)
    pace.rate(0)
    for speed in (100, 10):
        for _ in range(400):
            clock.now += 0.25
            done += speed
            rate = pace.rate(done)
        assert rate is not None
        assert abs(rate - speed * 4) < 0.05 * speed * 4


def test_rare_steps_still_give_a_rate_and_none_gives_none() -> None:
    clock = Clock()
    pace = Pace(clock)
    assert pace.rate(0) is None
    clock.now = 100
    assert pace.rate(0) is None
    clock.now = 200
    assert pace.rate(1000) is not None


def test_many_quick_steps_take_no_memory() -> None:
    clock = Clock()
    pace = Pace(clock)
    for done in range(100_000):
        clock.now += 0.001
        pace.rate(done)
    assert len(pace._samples) < 300


def test_types_are_added_up_with_the_largest_first() -> None:
    found = shares([("F32", 10), ("Q4_K", 100), ("F32", 20), ("Q4_K", 1)])
    assert found == (TypeShare("Q4_K", 2, 101), TypeShare("F32", 2, 30))
