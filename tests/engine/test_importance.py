"""The sums: bit for bit those of llama-imatrix's loops, written out here one addition after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localqwen.engine.importance import Accumulator, ImportanceError

Array = npt.NDArray[Any]


def random(seed: int, *shape: int) -> Array:
    """Activations of very different magnitudes, so that the order of additions shows in the last bits."""
    generator = np.random.default_rng(seed)
    return (generator.standard_normal(shape) * 10.0 ** generator.integers(-3, 3, shape)).astype(np.float32)


def one_by_one(values: Array, matrix: int, row: Array) -> None:
    """acc[j] += x[j] * x[j], in float32."""
    for column, x in enumerate(row):
        values[matrix, column] = values[matrix, column] + x * x


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(1, 9), st.integers(1, 5)),
    matrices=st.sampled_from([(1, 1), (1, 2), (2, 1), (2, 2)]),
    calls=st.integers(1, 3),
)
def test_dense_sums_have_the_bits_of_the_plain_loop(
    seed: int, shape: tuple[int, int, int, int], matrices: tuple[int, int], calls: int
) -> None:
    sums = Accumulator()
    count = matrices[0] * matrices[1]
    values = np.zeros((count, shape[-1]), np.float32)
    for call in range(calls):
        rows = random(seed + call, *shape)
        sums.dense("w", rows, matrices)
        for i3 in range(shape[0]):
            for i2 in range(shape[1]):
                for row in rows[i3, i2]:
                    one_by_one(values, (i3 % matrices[0]) * matrices[1] + i2 % matrices[1], row)
    entry = sums.entries["w"]
    assert entry.values.tobytes() == values.tobytes()
    assert entry.counts.tolist() == [calls * (shape[0] * shape[1] * shape[2] // count)]


@given(
    seed=st.integers(0, 2**32 - 1),
    tokens=st.integers(1, 9),
    used=st.integers(1, 3),
    broadcast=st.booleans(),
    columns=st.integers(1, 5),
)
def test_experts_get_the_rows_that_are_routed_to_them_in_order(
    seed: int, tokens: int, used: int, broadcast: bool, columns: int
) -> None:
    sums = Accumulator()
    generator = np.random.default_rng(seed)
    values, counts = np.zeros((4, columns), np.float32), [0] * 4
    for call in range(2):
        rows = random(seed + call, tokens, 1 if broadcast else used, columns)
        ids = generator.integers(0, 4, (tokens, used)).astype(np.int32)
        sums.experts("w", rows, ids, 4)
        for slot in range(used):
            for token in range(tokens):
                expert = int(ids[token, slot])
                one_by_one(values, expert, rows[token, slot % rows.shape[1]])
                counts[expert] += 1
    assert sums.entries["w"].values.tobytes() == values.tobytes()
    assert sums.entries["w"].counts.tolist() == counts


def test_a_copy_does_not_change_with_the_original() -> None:
    sums = Accumulator()
    sums.dense("w", random(0, 1, 1, 20, 3))
    copy = sums.copy()
    before = copy.entries["w"].values.copy()
    sums.dense("w", random(1, 1, 1, 20, 3))
    assert (copy.entries["w"].values == before).all()
    assert (copy.chunks(10), sums.chunks(10), Accumulator().chunks(10)) == (2, 4, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_sums_that_are_not_finite_are_refused(bad: float) -> None:
    rows = random(0, 1, 1, 4, 3)
    rows[0, 0, 1, 2] = bad
    with pytest.raises(ImportanceError, match=r"blk\.0"), np.errstate(over="ignore"):
        Accumulator().dense("blk.0.w", rows)


def test_changing_shapes_and_strange_experts_are_refused() -> None:
    sums = Accumulator()
    sums.dense("w", random(0, 1, 1, 4, 3))
    with pytest.raises(ImportanceError, match="shape"):
        sums.dense("w", random(0, 1, 1, 4, 5))
    with pytest.raises(ImportanceError, match="expert"):
        sums.experts("e", random(0, 2, 1, 3), np.array([[0], [4]], np.int32), 4)
