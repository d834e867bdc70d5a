"""Our kernels against the installed ggml: every byte of every super-block, at every instruction set of this CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters import lanes
from converters.ggml import GGMLType, row_size
from converters.lanes import KINDS, LEVELS, LaneKernels
from converters.quantize import Kernels, library_path

Array = npt.NDArray[np.float32]

EXTENSION = lanes.extension_path()


@pytest.fixture(scope="module")
def ggml() -> Kernels:
    return Kernels(library_path())


def load(level: int) -> LaneKernels:
    assert EXTENSION is not None, "the extension was not built: is there a C compiler?"
    kernels = LaneKernels(library_path(), EXTENSION, level)
    if kernels.name != LEVELS[level]:
        pytest.skip(f"this CPU has no {LEVELS[level]}")
    return kernels


def quantized(kernels: Kernels, kind: GGMLType, values: Array, importance: Array | None) -> npt.NDArray[np.uint8]:
    """The super-blocks, one a row."""
    target = np.zeros(values.shape[0] * row_size(kind, values.shape[1]), np.uint8)
    with contextlib.suppress(OverflowError):  # raised after the bytes are written, for scales beyond float16
        kernels.quantize(kind, values, target, values.shape[1], importance)
    return target.reshape(values.size // 256, -1)


# Each makes an array from standard normal values and a generator.
DISTRIBUTIONS: dict[str, Callable[[Array, np.random.Generator], npt.NDArray[np.floating]]] = {
    "normal": lambda normal, random: normal * 0.02,
    "bf16": lambda normal, random: ((normal * np.float32(0.02)).view(np.uint32) & 0xFFFF0000).view(np.float32),
    "heavy tails": lambda normal, random: random.standard_t(3, normal.shape) * 0.02,
    "constant": lambda normal, random: np.repeat(normal[:, :1], normal.shape[1], 1),
    "constant sub-blocks": lambda normal, random: np.repeat(normal[:, ::32], 32, 1),
    "denormal": lambda normal, random: normal * np.float32(1e-40),
    "tiny": lambda normal, random: normal * np.float32(1e-17),
    "huge": lambda normal, random: normal * np.float32(1e18),
    "mostly zeros": lambda normal, random: np.where(random.random(normal.shape) < 0.9, 0, normal),
    "half zeros": lambda normal, random: np.where(np.arange(normal.shape[1]) < normal.shape[1] // 2, 0, normal),
    "positive": lambda normal, random: np.abs(normal),
    "negative": lambda normal, random: -np.abs(normal) - 1,
    "many magnitudes": lambda normal, random: normal * 10.0 ** random.integers(-30, 5, normal.shape),
    "outliers": lambda normal, random: np.where(random.random(normal.shape) < 0.01, normal * 1000, normal),
    "integers": lambda normal, random: np.round(normal * 3),
}


def distribution(name: str, random: np.random.Generator, rows: int, columns: int) -> Array:
    normal = random.standard_normal((rows, columns), np.float32)
    return np.ascontiguousarray(DISTRIBUTIONS[name](normal, random), np.float32)


def importances(name: str, random: np.random.Generator, columns: int) -> Array | None:
    values = np.square(random.standard_normal(columns, np.float32))
    match name:
        case "none":
            return None
        case "partly zero":
            values[: columns // 3] = 0
        case "tiny":
            values *= np.float32(1e-30)
    return values


@pytest.mark.parametrize("level", range(len(LEVELS)), ids=LEVELS)
@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_bytes_equal_ggml(ggml: Kernels, level: int, kind: GGMLType, name: str) -> None:
    kernels = load(level)
    random = np.random.default_rng(1)
    # 5 and 7 super-blocks a row: the last group of a slab is not full.
    for columns in (1280, 1792):
        values = distribution(name, random, 9, columns)
        for weights in ("none", "random", "partly zero", "tiny"):
            importance = importances(weights, random, columns)
            ours = quantized(kernels, kind, values, importance)
            theirs = quantized(ggml, kind, values, importance)
            assert np.array_equal(ours, theirs), (weights, np.flatnonzero((ours != theirs).any(axis=1)))


@settings(max_examples=200, deadline=None)
@given(
    data=st.binary(min_size=1024, max_size=1024),
    kind=st.sampled_from(KINDS),
    exponent=st.integers(-60, 10),
    weighted=st.booleans(),
)
def test_any_finite_super_block_equals_ggml(data: bytes, kind: GGMLType, exponent: int, weighted: bool) -> None:
    """Floats from raw bits, their exponents folded so that their squares stay finite."""
    bits = np.frombuffer(data, np.uint32) & 0xBFFFFFFF
    values = np.ascontiguousarray(np.ldexp(bits.view(np.float32), exponent), np.float32).reshape(1, 256)
    importance = np.abs(values[0]) if weighted else None
    best = lanes.kernels()
    ggml_kernels = lanes.kernels(match_local=True)
    assert best is not ggml_kernels
    assert np.array_equal(quantized(best, kind, values, importance), quantized(ggml_kernels, kind, values, importance))


def test_other_types_go_to_ggml(ggml: Kernels) -> None:
    values = distribution("normal", np.random.default_rng(0), 2, 512)
    assert np.array_equal(quantized(load(0), GGMLType.Q8_0, values, None), quantized(ggml, GGMLType.Q8_0, values, None))


def test_without_the_extension_ggml_does_it_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "extension_path", lambda: None)
    kernels = lanes.kernels.__wrapped__()
    assert not isinstance(kernels, LaneKernels)
    assert "were not compiled" in kernels.description


def test_kernels_that_disagree_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(LaneKernels):
        def _run(
            self, kind: GGMLType, source: Array, target: npt.NDArray[np.uint8], rows: int, columns: int, w: Array | None
        ) -> None:
            super()._run(kind, source, target, rows, columns, w)
            if kind is GGMLType.Q6_K:
                target[5] ^= 1

    monkeypatch.setattr(lanes, "LaneKernels", Wrong)
    kernels = lanes.kernels.__wrapped__()
    assert not isinstance(kernels, LaneKernels)
    assert "other bytes for Q6_K on this machine" in kernels.description


def test_the_library_of_the_extension_is_the_one_that_was_built_here() -> None:
    assert EXTENSION is not None
    assert EXTENSION.parent == Path(lanes.__file__).parent
