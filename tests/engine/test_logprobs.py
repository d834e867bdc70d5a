"""Log probabilities against a plain log-softmax."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from localqwen.engine.logprobs import IMPOSSIBLE, likeliest, log_sum_exp, logprobs
from localqwen.engine.penalties import Row

rows = arrays(np.float32, st.integers(1, 100), elements=st.floats(-500, 500, width=32))


def name(token: int) -> bytes:
    return b"%d" % token


@given(rows, st.integers(0, 120), st.data())
def test_the_likeliest_come_first(row: Row, top: int, data: st.DataObject) -> None:
    chosen = data.draw(st.integers(0, len(row) - 1))
    told = logprobs(row, chosen, top, name)
    order = sorted(range(len(row)), key=lambda token: (-row[token], token))
    assert [likely.data for likely in told.top] == [name(token) for token in order[:top]]
    assert told.chosen.data == name(chosen)
    assert told.chosen.logprob <= 1e-6
    assert sum(np.exp(likely.logprob) for likely in told.top) <= 1 + 1e-6
    wide = row.astype(np.float64)
    assert log_sum_exp(row) == pytest.approx(np.logaddexp.reduce(wide), abs=1e-4)


def test_an_impossible_token_has_a_number() -> None:
    row = np.array([0.0, -np.inf], np.float32)
    assert logprobs(row, 1, 2, name).chosen.logprob == IMPOSSIBLE
    assert likeliest(row, 2) == [0, 1]
