"""Rates and times left."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localqwen.pace import MOST_MARKS, SHORTEST_SECONDS, WINDOW_SECONDS, Pace, duration

steps = st.lists(st.tuples(st.floats(0.001, 5), st.floats(0, 1e9)), max_size=80)


def paced(*marks: tuple[float, float]) -> Pace:
    pace = Pace()
    for now, done in marks:
        pace = pace.at(done, now)
    return pace


def test_steady_work_ends_when_it_should() -> None:
    pace = paced(*((second / 10, second * 10.0) for second in range(50)))
    assert pace.rate == pytest.approx(100)
    assert pace.seconds_left(1000) == pytest.approx(5.1)


def test_nothing_is_told_at_the_start() -> None:
    assert Pace().seconds_left(100) is None
    assert paced((0, 0)).seconds_left(100) is None
    assert paced((0, 0), (SHORTEST_SECONDS / 2, 50)).seconds_left(100) is None
    assert paced((0, 0), (5, 0.5)).seconds_left(100) is None
    assert paced((0, 0), (1, 50)).seconds_left(0) is None


def test_what_was_there_before_counts_for_nothing() -> None:
    # 900 of 1000 tokens were cached; the rest goes at 10 a second.
    assert paced((0, 900), (2, 920)).seconds_left(1000) == pytest.approx(8)


def test_what_is_done_takes_no_time() -> None:
    assert paced((0, 0), (0.01, 7)).seconds_left(7) == 0


def test_only_the_last_seconds_count() -> None:
    fast = [(float(second), second * 1000.0) for second in range(10)]
    slow = [(10.0 + second, 9000.0 + second * 10) for second in range(int(WINDOW_SECONDS) * 2)]
    assert paced(*fast, *slow).rate == pytest.approx(10, rel=0.2)


def test_work_that_stands_still_promises_ever_less() -> None:
    pace = paced((0, 0), (2, 50))
    assert pace.seconds_left(100) == pytest.approx(2)
    assert pace.seconds_left(100, now=8) == pytest.approx(8)


def test_a_second_try_begins_anew() -> None:
    assert paced((0, 0), (5, 80), (6, 0)).seconds_left(100) is None


@given(steps, st.floats(1, 1e10))
def test_no_history_makes_nonsense(history: list[tuple[float, float]], total: float) -> None:
    pace, now, done = Pace(), 0.0, 0.0
    for wait, more in history:
        now, done = now + wait, done + more
        pace = pace.at(done, now)
        assert pace.rate >= 0
        left = pace.seconds_left(total, now)
        assert left is None or left >= 0
        assert len(pace.marks) <= MOST_MARKS
    assert pace.done == done


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "1 s"), (3.2, "4 s"), (42, "45 s"), (58, "1 min"), (61, "2 min"), (3600, "1 h"), (4700, "1 h 20 min")],
)
def test_a_time_is_told_no_more_exactly_than_it_is_known(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@given(st.floats(0, 1e12))
def test_a_time_is_always_short(seconds: float) -> None:
    assert len(duration(seconds)) <= 11
