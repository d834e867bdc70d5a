"""What fits into memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localqwen.engine.plan import MIN_CONTEXT, Shape, check_memory, default_context, memory_needed
from localqwen.errors import OutOfMemoryError

QWEN2_72B = Shape(weights=47_370_000_000, layers=80, hidden=8192, feed_forward=29568, kv_width=1024)
MIB = 1 << 20


def test_figures_of_qwen2_72b_are_llama_cpps() -> None:
    assert QWEN2_72B.kv_bytes_per_token == 320 * 1024
    # llama.cpp allocates these many MiB for activations at 32768 and 131072 tokens.
    assert QWEN2_72B.compute_bytes(32768) / MIB == pytest.approx(269, rel=0.03)
    assert QWEN2_72B.compute_bytes(131072) / MIB == pytest.approx(365, rel=0.03)


def test_layers_on_a_gpu_do_not_count() -> None:
    whole, half = (memory_needed(QWEN2_72B, 32768, layers) for layers in (0, 40))
    assert half < 0.55 * whole
    assert memory_needed(QWEN2_72B, 32768, 9999) < 1e9


def test_too_little_memory_is_said_with_both_figures() -> None:
    needed = memory_needed(QWEN2_72B, 32768, 0)
    assert needed / 1e9 == pytest.approx(58.6, abs=0.1)
    with pytest.raises(OutOfMemoryError, match=r"big\.gguf needs 58\.\d GB of memory and 16\.0 GB are .*--ctx"):
        check_memory("big.gguf", needed, 16_000_000_000)


@given(st.integers(64, 1 << 18), st.integers(0, 1 << 37))
def test_default_context_is_within_its_bounds(native: int, available: int) -> None:
    context = default_context(QWEN2_72B, native, available, 0)
    assert min(native, MIN_CONTEXT) <= context <= min(native, 32768)


def test_default_context_follows_the_memory() -> None:
    assert default_context(QWEN2_72B, 32768, 48_000_000_000, 0) == 8192
    assert default_context(QWEN2_72B, 32768, 128_000_000_000, 0) == 32768
    assert default_context(QWEN2_72B, 32768, 128_000_000_000, 40) == 8192
