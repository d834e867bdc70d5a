"""No scaling up to the native window, then the smallest factor that covers what is wanted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localqwen.engine.rope import MAX_FACTOR, Window, rope_for, window
from localqwen.errors import InvalidRequestError

natives = st.integers(1, 1 << 20)


@given(natives, st.integers(1, 1 << 22))
def test_factor_is_the_smallest_that_covers(native: int, wanted: int) -> None:
    facts = window(native, None, None)
    if wanted > facts.longest:
        with pytest.raises(InvalidRequestError, match=str(facts.longest)):
            rope_for(wanted, facts)
        return
    rope = rope_for(wanted, facts)
    assert rope.original == native
    assert 1 <= rope.factor <= MAX_FACTOR
    assert native * rope.factor >= wanted * (1 - 1e-12)
    assert rope.factor == 1 or native * rope.factor <= wanted * (1 + 1e-12)


@given(natives, st.integers(1, 1 << 20), st.integers(1, 1 << 20))
def test_factor_grows_with_the_context(native: int, one: int, other: int) -> None:
    facts = window(native, None, None)
    small, large = sorted(min(size, facts.longest) for size in (one, other))
    assert rope_for(small, facts).factor <= rope_for(large, facts).factor


def test_yarn_keys_state_the_trained_window() -> None:
    assert window(131072, "yarn", 32768) == Window(32768, 131072)
    assert rope_for(32768, window(131072, "yarn", 32768)).factor == 1
    assert rope_for(65536, window(131072, "yarn", 32768)).factor == 2


def test_a_file_without_yarn_keys_gives_the_same_scaling() -> None:
    assert rope_for(65536, window(32768, None, None)) == rope_for(65536, window(131072, "yarn", 32768))


def test_another_scaling_is_left_to_the_file() -> None:
    facts = window(16384, "linear", None)
    assert rope_for(16384, facts).from_file
    with pytest.raises(InvalidRequestError):
        rope_for(16385, facts)
