"""A turned cache against one that was computed."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.long_text import Cache
from localqwen.engine.model import Model
from localqwen.engine.rerope import CHUNK, KeyShape, StateError, close_enough, frequencies, rerope
from localqwen.engine.rope import Rope

NATIVE, WIDTH, LAYERS, HEADS = 8192, 64, 30, 3
SHAPE = KeyShape(WIDTH, 100000.0)
TOKENS = 600  # so that positions beyond the first batch are turned too
factors = st.sampled_from([1.0, 1.25, 2.0, 3.75, 4.0])


@pytest.fixture(scope="module")
def model(demo_gguf: Path) -> Iterator[Model]:
    with Model.load(demo_gguf) as model:
        assert float(model.metadata("qwen2.rope.freq_base") or 0) == SHAPE.base
        yield model


def computed(model: Model, factor: float) -> bytearray:
    with Cache(model, 1024, Rope(factor, NATIVE), 2) as cache:
        cache.prefill([(7919 * i) % 40000 + 1000 for i in range(TOKENS)])
        return cache.state()


def keys(state: bytearray, layer: int) -> npt.NDArray[np.float32]:
    row = HEADS * WIDTH
    at = 16 + 12 * TOKENS + 8 + layer * (12 + 2 * TOKENS * row) + 12
    return np.frombuffer(state, np.float16, TOKENS * row, at).astype(np.float32)


def distance(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


@pytest.mark.parametrize(("old", "new"), [(1.0, 1.25), (1.0, 4.0), (4.0, 2.0)])
def test_the_first_layer_is_as_computed_and_the_others_come_near(model: Model, old: float, new: float) -> None:
    before, wanted = computed(model, old), computed(model, new)
    turned = bytearray(before)
    rerope(turned, SHAPE, Rope(old, NATIVE), Rope(new, NATIVE))
    assert distance(keys(turned, 0), keys(wanted, 0)) < 1e-3
    assert distance(keys(before, 0), keys(wanted, 0)) > 0.02
    left = [
        distance(keys(turned, layer), keys(wanted, layer)) / distance(keys(before, layer), keys(wanted, layer))
        for layer in range(LAYERS)
    ]
    assert sum(left) / LAYERS < 0.5
    assert max(left) < 0.75
    values = len(turned) // 2 + 16 + 12 * TOKENS  # the second half of the state but for its head is V
    assert turned[values:] == before[values:]


def synthetic(cells: int, *, kind: int = 1, streams: int = 1, width: int = WIDTH) -> bytearray:
    """A state as llama.cpp writes it, of one layer and one head; the cells are in the last stream."""
    meta = b"".join(struct.pack("<iIi", 5 * i, 1, 0) for i in range(cells))
    rows = np.random.default_rng(cells).standard_normal((cells, width)).astype(np.float16).tobytes()
    layer = struct.pack("<iQ", kind, 2 * width) + rows
    empty = struct.pack("<I", 0) * (streams - 1)
    return bytearray(
        struct.pack("<III", 0, 0, streams) + empty + struct.pack("<I", cells) + meta + struct.pack("<II", 0, 1) + layer
    )


@given(factors, factors, st.sampled_from([1, 3, CHUNK, CHUNK + 1]), st.integers(1, 3))
def test_there_and_back(old: float, new: float, cells: int, streams: int) -> None:
    state = synthetic(cells, streams=streams)
    turned = bytearray(state)
    rerope(turned, SHAPE, Rope(old, NATIVE), Rope(new, NATIVE))
    assert (turned == state) is (old == new)
    rerope(turned, SHAPE, Rope(new, NATIVE), Rope(old, NATIVE))
    first = len(state) - cells * 2 * WIDTH
    assert turned[:first] == state[:first]
    one, other = (np.frombuffer(each, np.float16, offset=first).astype(np.float32) for each in (turned, state))
    assert distance(one, other) < 1e-3


@given(factors)
def test_fast_pairs_keep_their_angle_and_slow_ones_are_stretched(factor: float) -> None:
    angles, stretch = frequencies(SHAPE, Rope(factor, NATIVE))
    trained, _ = frequencies(SHAPE, Rope(1.0, NATIVE))
    assert angles[0] == trained[0] == 1
    assert angles[-1] == pytest.approx(trained[-1] / factor)
    assert stretch == pytest.approx(1 + 0.1 * np.log(factor))


def test_an_empty_sequence_has_nothing_to_turn() -> None:
    state = bytearray(struct.pack("<IIII", 0, 0, 1, 0))
    rerope(state, SHAPE, Rope(1.0, NATIVE), Rope(2.0, NATIVE))


@pytest.mark.parametrize(
    "state", [synthetic(4, kind=8), synthetic(4, width=48), synthetic(4)[:-1], synthetic(4)[:20], bytearray(3)]
)
def test_what_cannot_be_turned_stays_as_it_was(state: bytearray) -> None:
    before = bytes(state)
    with pytest.raises(StateError):
        rerope(state, SHAPE, Rope(1.0, NATIVE), Rope(2.0, NATIVE))
    assert state == before


def test_one_step_is_close_enough() -> None:
    assert close_enough(Rope(1.0, NATIVE), Rope(1.25, NATIVE))
    assert close_enough(Rope(2.0, NATIVE), Rope(2.0, NATIVE))
    assert not close_enough(Rope(1.0, NATIVE), Rope(1.5, NATIVE))
    assert not close_enough(Rope(1.25, NATIVE), Rope(1.0, NATIVE)), "not measured"
    assert not close_enough(Rope(1.0, NATIVE), Rope(1.0, NATIVE, from_file=True))
