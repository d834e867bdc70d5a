"""The longest recent agreement with the end of a conversation, and what followed it."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from localqwen.engine.ngram import COMPARED, LEVELS, LONG, SHORT, SLICE, NgramDrafter

texts = st.lists(st.integers(0, 3), max_size=120)


def agreement(tokens: Sequence[int], place: int) -> int:
    """How many tokens before ``place`` are the same as before the end, up to as many as are compared."""
    length = 0
    while length < min(COMPARED, place) and tokens[place - 1 - length] == tokens[-1 - length]:
        length += 1
    return length


@given(texts)
def test_confidence_is_that_of_a_real_agreement(tokens: list[int]) -> None:
    longest = max((agreement(tokens, place) for place in range(len(tokens))), default=0)
    level = NgramDrafter().confidence(tokens)
    if longest < SHORT:
        assert level is None
        return
    assert level is not None
    assert LEVELS[level] <= longest
    if longest >= LONG:
        assert level >= 2  # whatever is nearer


@given(texts, st.integers(1, 40))
def test_a_guess_is_what_followed(tokens: list[int], limit: int) -> None:
    drafter = NgramDrafter()
    level = drafter.confidence(tokens)
    if level is None:
        return
    guess = drafter.draft(tokens, limit)
    assert len(guess) == limit
    told = [*tokens, *guess]
    assert any(
        agreement(tokens, place) >= LEVELS[level] and told[place : place + limit] == guess
        for place in range(SHORT, len(tokens))
    )


@given(texts, st.lists(st.integers(1, 9)))
def test_the_index_does_not_depend_on_the_steps(tokens: list[int], steps: list[int]) -> None:
    at_once, stepwise = NgramDrafter(), NgramDrafter()
    growing: list[int] = []
    for step in steps:
        growing += tokens[len(growing) : len(growing) + step]
        stepwise.confidence(growing)
    growing += tokens[len(growing) :]
    level = at_once.confidence(tokens)
    assert stepwise.confidence(growing) == level
    if level is not None:
        assert stepwise.draft(growing, 15) == at_once.draft(tokens, 15)


def test_the_longer_agreement_wins_over_the_nearer() -> None:
    tokens = [9, 1, 2, 3, 4, 5, 60, 7, 2, 3, 4, 70, 9, 1, 2, 3, 4]
    drafter = NgramDrafter()
    assert drafter.confidence(tokens) == 1
    assert drafter.draft(tokens, 2) == [5, 60]


def test_the_nearer_of_two_alike_wins() -> None:
    drafter = NgramDrafter()
    tokens = [1, 2, 3, 50, 1, 2, 3, 60, 1, 2, 3]
    drafter.confidence(tokens)
    assert drafter.draft(tokens, 1) == [60]


def test_a_period_goes_on() -> None:
    drafter = NgramDrafter()
    tokens = [1, 2, 3, 4] * 2
    drafter.confidence(tokens)
    assert drafter.draft(tokens, 10) == [1, 2, 3, 4, 1, 2, 3, 4, 1, 2]


def test_nothing_is_guessed_after_the_end_of_an_answer() -> None:
    drafter = NgramDrafter(ends=[99])
    tokens = [1, 2, 3, 99, 7, 8, 1, 2, 3]
    drafter.confidence(tokens)
    assert drafter.draft(tokens, 5) == [99]


def test_a_long_prompt_is_indexed_in_slices() -> None:
    tokens = [*range(2 * SLICE), SLICE + 5, SLICE + 6, SLICE + 7]
    drafter = NgramDrafter()
    assert drafter.confidence(tokens) is None
    drafter.confidence(tokens)
    assert drafter.confidence(tokens) == 0
    assert drafter.draft(tokens, 2) == [SLICE + 8, SLICE + 9]
