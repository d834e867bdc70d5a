"""Who gets how much of a batch."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from localqwen.engine.schedule import SMALLEST_SLICE, STEP_SECONDS, prompt_budget, shares

pendings = st.lists(st.integers(0, 5000), max_size=10)


@given(pendings, st.integers(0, 600))
def test_everything_is_given_and_nobody_gets_too_much(pending: list[int], budget: int) -> None:
    given_ = shares(pending, budget)
    assert len(given_) == len(pending)
    assert all(0 <= part <= count for part, count in zip(given_, pending, strict=True))
    assert sum(given_) == min(budget, sum(pending))


@given(pendings, st.integers(0, 600))
def test_nobody_is_starved(pending: list[int], budget: int) -> None:
    """A prompt gets an equal share or all that it needs, so a short one is done in its first step."""
    given_ = shares(pending, budget)
    fair = budget // len(pending) if pending else 0
    assert all(part >= min(count, fair) for part, count in zip(given_, pending, strict=True))


@given(st.integers(1, 16), st.floats(0, 1e6))
def test_answers_bound_the_prompts_part(answers: int, rate: float) -> None:
    budget = prompt_budget(512 - answers, answers, rate)
    assert SMALLEST_SLICE <= budget <= 512 - answers
    assert budget <= max(SMALLEST_SLICE, rate * STEP_SECONDS)


def test_without_answers_a_prompt_gets_the_whole_batch() -> None:
    assert prompt_budget(512, 0, 10.0) == 512
