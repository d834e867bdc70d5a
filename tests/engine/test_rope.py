"""No scaling up to the native window, then the smallest factor that covers what is wanted."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from localqwen.engine.rope import MAX_FACTOR, STEP, Rope, Window, capacity, parse_mode, rope_for, window
from localqwen.errors import InvalidRequestError

# A llama.cpp position is an int32.
natives = st.integers(1, 1 << 20)
needs = st.integers(1, 1 << 23)
factors = st.floats(1, 8, exclude_min=True)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """With and without YaRN keys, the window stretched in the file or not, by any factor."""
    native = draw(natives)
    factor = draw(factors)
    stretched = round(native * factor)
    return draw(
        st.sampled_from(
            [
                window(native, None, None),
                window(native, "yarn", native, factor),
                window(stretched, "yarn", native, factor),
                window(stretched, "yarn", native),
            ]
        )
    )


@given(windows(), needs)
def test_auto_covers_with_the_smallest_step(facts: Window, needed: int) -> None:
    assume(needed <= facts.longest)
    rope = rope_for(needed, facts)
    assert rope.original == facts.native
    assert needed <= capacity(rope, facts) <= facts.longest
    if rope.factor > 1:
        assert needed > facts.native
        assert needed > facts.native * (math.ceil(rope.factor / STEP) - 1) * STEP, "one step less would do"


@given(windows(), needs)
def test_auto_scales_nothing_in_the_native_window(facts: Window, needed: int) -> None:
    assert rope_for(min(needed, facts.native), facts).factor == 1
    assert capacity(Rope(1.0, facts.native), facts) == facts.native


@given(windows(), needs, needs)
def test_auto_grows_with_the_need(facts: Window, one: int, other: int) -> None:
    small, large = sorted(min(size, facts.longest) for size in (one, other))
    assert rope_for(small, facts).factor <= rope_for(large, facts).factor


@given(windows(), needs)
def test_a_conversation_may_fill_what_it_got(facts: Window, needed: int) -> None:
    rope = rope_for(min(needed, facts.longest), facts)
    assert rope_for(capacity(rope, facts), facts) == rope


@given(windows(), needs)
def test_nothing_beyond_the_longest_window(facts: Window, more: int) -> None:
    assert capacity(rope_for(facts.longest, facts), facts) == facts.longest
    with pytest.raises(InvalidRequestError, match=rf"more than this model's longest, {facts.longest}: "):
        rope_for(facts.longest + more, facts)


@given(windows(), needs, factors)
def test_a_static_factor_whatever_is_needed(facts: Window, needed: int, factor: float) -> None:
    if math.floor(factor * facts.native) > facts.longest:
        with pytest.raises(InvalidRequestError, match=rf"--yarn .* {facts.longest} tokens: use "):
            rope_for(1, facts, factor)
        return
    rope = rope_for(1, facts, factor)
    assert rope == Rope(factor, facts.native)
    room = capacity(rope, facts)
    assert math.floor(facts.native * factor) <= room <= facts.longest
    assert rope_for(min(needed, room), facts, factor) == rope
    with pytest.raises(InvalidRequestError, match="longest" if room == facts.longest else "--yarn auto"):
        rope_for(room + needed, facts, factor)


@given(windows(), needs)
def test_off_is_off(facts: Window, needed: int) -> None:
    if needed <= facts.native:
        assert rope_for(needed, facts, "off") == Rope(1.0, facts.native)
        return
    with pytest.raises(InvalidRequestError, match="longest" if facts.native == facts.longest else "--yarn off"):
        rope_for(needed, facts, "off")


@pytest.mark.parametrize(
    ("needed", "factor"),
    [
        (1, 1),
        (32768, 1),
        (32769, 1.25),
        (40960, 1.25),
        (40961, 1.5),
        (65536, 2),
        (98304, 3),
        (98305, 3.25),
        (131072, 4),
    ],
)
def test_steps_of_qwen2(needed: int, factor: float) -> None:
    assert rope_for(needed, window(32768, None, None)) == Rope(factor, 32768)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ((32768, None, None), Window(32768, 131072)),
        ((32768, "none", None, None), Window(32768, 131072)),
        ((131072, "yarn", 32768, 4.0), Window(32768, 131072)),
        ((32768, "yarn", 32768, 4.0), Window(32768, 131072)),  # as llama.cpp's converter writes it
        ((131072, "yarn", 32768), Window(32768, 131072)),
        ((65536, "yarn", 32768, 2.0), Window(32768, 65536)),
        ((32768, "yarn", 32768, 2.0), Window(32768, 65536)),
        ((32768, "yarn", None, 8.0), Window(32768, 262144)),
        ((32768, "yarn", 32768, math.nan), Window(32768, 131072)),
        ((16384, "linear", None, 4.0), Window(16384, 16384, own_scaling=True)),
    ],
)
def test_what_a_file_says(keys: tuple[int, str | None, int | None], expected: Window) -> None:
    assert window(*keys) == expected
    assert MAX_FACTOR == 4


def test_the_last_step_ends_with_the_longest_window() -> None:
    facts = window(8192, "yarn", 8192, 2.3)
    assert facts.longest == 18842
    assert rope_for(18433, facts).factor == pytest.approx(2.3, abs=1e-4)


def test_another_scaling_is_left_to_the_file() -> None:
    facts = window(16384, "linear", None)
    for mode in ("auto", "off"):
        assert rope_for(16384, facts, parse_mode(mode)).from_file
        with pytest.raises(InvalidRequestError, match="longest, 16384"):
            rope_for(16385, facts, parse_mode(mode))
    with pytest.raises(InvalidRequestError, match="other than YaRN: leave --yarn out"):
        rope_for(100, facts, 2.0)


def test_modes() -> None:
    assert [parse_mode(text) for text in ("off", "AUTO", " 2.5", "4")] == ["off", "auto", 2.5, 4.0]


@given(st.one_of(st.sampled_from(["", "on", "1", "0.5", "-2", "nan", "inf", "1e999", "2,5", "x" * 1000]), st.text()))
def test_a_wrong_mode_is_one_sentence(text: str) -> None:
    try:
        mode = parse_mode(text)
    except InvalidRequestError as error:
        assert "--yarn must be auto, off or a factor above 1" in str(error)
        assert len(str(error)) < 300
    else:
        assert mode in {"off", "auto"} or (isinstance(mode, float) and 1 < mode < math.inf)
