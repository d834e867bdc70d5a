"""Defaults come from the file, wishes from the request."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localqwen.engine.sampling import FALLBACK, SEEDS, Sampling, decide, defaults
from localqwen.errors import InvalidRequestError
from localqwen.params import SamplingParams

QWEN2 = {
    "general.sampling.temp": "0.700000",
    "general.sampling.top_k": "20",
    "general.sampling.top_p": "0.800000",
    "general.sampling.penalty_repeat": "1.050000",
}


def test_the_publishers_values() -> None:
    assert defaults(QWEN2.get) == Sampling(0.7, 0.8, 20, 0.0, 1.05)


def test_a_file_that_says_nothing() -> None:
    assert defaults(lambda key: None) == FALLBACK


@pytest.mark.parametrize("value", ["nan", "inf", "often", ""])
def test_a_value_that_is_no_number(value: str) -> None:
    assert defaults({"general.sampling.temp": value}.get) == FALLBACK


def test_a_wish_replaces_only_what_it_names() -> None:
    decided = decide(SamplingParams(temperature=0, seed=-1), defaults(QWEN2.get))
    assert decided == Sampling(0, 0.8, 20, 0.0, 1.05, seed=SEEDS - 1)


def test_seeds_are_drawn_anew() -> None:
    assert len({decide(SamplingParams(), FALLBACK).seed for _ in range(8)}) > 1


@pytest.mark.parametrize(
    "wish",
    [
        SamplingParams(temperature=-0.1),
        SamplingParams(temperature=float("nan")),
        SamplingParams(top_p=0),
        SamplingParams(min_p=2),
        SamplingParams(repetition_penalty=0),
        SamplingParams(frequency_penalty=2.1),
        SamplingParams(presence_penalty=-2.1),
        SamplingParams(top_k=2**31),
    ],
)
def test_a_wish_out_of_range(wish: SamplingParams) -> None:
    with pytest.raises(InvalidRequestError, match="must be"):
        decide(wish, FALLBACK)


anything = st.none() | st.floats()


@given(
    st.builds(
        SamplingParams,
        temperature=anything,
        top_p=anything,
        top_k=st.none() | st.integers(),
        min_p=anything,
        repetition_penalty=anything,
        frequency_penalty=anything,
        presence_penalty=anything,
        seed=st.none() | st.integers(),
    )
)
def test_whatever_is_decided_is_in_range_and_as_wished(asked: SamplingParams) -> None:
    try:
        decided = decide(asked, FALLBACK)
    except InvalidRequestError as error:
        assert str(error).split()[0] in {
            field for field in SamplingParams.__slots__ if getattr(asked, field) is not None
        }
        return
    for name in Sampling.__slots__:
        wish = getattr(asked, name)
        if name != "seed":
            assert getattr(decided, name) == (getattr(FALLBACK, name) if wish is None else wish)
            assert math.isfinite(getattr(decided, name))
    assert 0 <= decided.seed < SEEDS, "2**32 - 1 would make llama.cpp draw another seed"
