"""Bias and penalties change exactly the logits that they should, as llama.cpp's own samplers do."""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Sequence
from typing import Any

import llama_cpp.llama_cpp as llama
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localqwen.engine.penalties import AnswerPenalties, LogitBias, RepetitionPenalty, Row, edits
from localqwen.engine.sampling import NEUTRAL, Sampling
from localqwen.errors import InvalidRequestError

VOCABULARY = 200
tokens = st.lists(st.integers(0, VOCABULARY - 1), max_size=300)
ENTRY = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


def random_row(seed: int) -> Row:
    return np.random.default_rng(seed).normal(0, 5, VOCABULARY).astype(np.float32)


def by_llama(sampler: Any, row: Row, accepted: Sequence[int]) -> Row:
    """What one of llama.cpp's samplers makes of a row after it was shown some tokens."""
    entries = np.zeros(VOCABULARY, ENTRY)
    entries["id"], entries["logit"] = np.arange(VOCABULARY), row
    data = entries.ctypes.data_as(llama.llama_token_data_p)
    candidates = llama.llama_token_data_array(data=data, size=VOCABULARY, selected=-1, sorted=False)
    for token in accepted:
        llama.llama_sampler_accept(sampler, token)
    llama.llama_sampler_apply(sampler, ctypes.byref(candidates))
    llama.llama_sampler_free(sampler)
    return np.array(entries["logit"][np.argsort(entries["id"])])


@given(tokens, tokens, st.floats(0.1, 3), st.integers(0, 9))
def test_repetition_counts_prompt_and_answer(prompt: list[int], answer: list[int], penalty: float, seed: int) -> None:
    row = random_row(seed)
    expected = by_llama(
        llama.llama_sampler_init_penalties(VOCABULARY, 1024, penalty, 0.0, 0.0), row.copy(), prompt + answer
    )
    edit = RepetitionPenalty(penalty, prompt)
    for token in answer:
        edit.accept(token)
    edit.apply(row)
    np.testing.assert_allclose(row, expected, rtol=1e-6)


@given(tokens, st.floats(-2, 2), st.floats(-2, 2), st.integers(0, 9))
def test_frequency_and_presence_follow_the_formula(
    answer: list[int], frequency: float, presence: float, seed: int
) -> None:
    row = random_row(seed)
    counts = Counter(answer)
    formula = [logit - counts[i] * frequency - (counts[i] > 0) * presence for i, logit in enumerate(row.tolist())]
    oracle = by_llama(
        llama.llama_sampler_init_penalties(VOCABULARY, 1024, 1.0, frequency, presence), row.copy(), answer
    )
    edit = AnswerPenalties(frequency, presence)
    for token in answer:
        edit.accept(token)
    edit.apply(row)
    np.testing.assert_allclose(row, formula, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(row, oracle, rtol=1e-5, atol=1e-4)


@given(st.lists(st.tuples(st.integers(0, VOCABULARY - 1), st.floats(-100, 100)), max_size=20))
def test_biases_add_up(biases: list[tuple[int, float]]) -> None:
    row = np.zeros(VOCABULARY, np.float32)
    expected = np.zeros(VOCABULARY)
    for token, bias in biases:
        expected[token] += bias
    edit = LogitBias(biases, VOCABULARY)
    edit.apply(row)
    np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-4)


def test_a_blocked_token_stays_blocked() -> None:
    row = np.full(VOCABULARY, -np.inf, np.float32)
    for edit in edits(Sampling(1, 1, 0, 0, 1.3, 1, 1), [3], [(3, 100)], VOCABULARY):
        edit.accept(3)
        edit.apply(row)
    assert np.isneginf(row).all()


@pytest.mark.parametrize("token", [-1, VOCABULARY, 2**40])
def test_a_bias_for_no_token(token: int) -> None:
    with pytest.raises(InvalidRequestError, match=f"names token {token}, but this model's tokens are 0 to 199"):
        LogitBias([(token, 1.0)], VOCABULARY)


@pytest.mark.parametrize("bias", [float("nan"), float("inf"), 101.0])
def test_a_bias_out_of_range(bias: float) -> None:
    with pytest.raises(InvalidRequestError, match="from -100 to 100"):
        LogitBias([(1, bias)], VOCABULARY)


def test_nothing_to_do_is_nothing() -> None:
    assert edits(NEUTRAL, [1, 2], (), VOCABULARY) == []
