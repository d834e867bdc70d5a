"""Estimates of tokens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from localqwen.params import ChatMessage
from localqwen.token_count import TokenCount, estimate


def test_an_estimate_says_that_it_is_one() -> None:
    assert str(TokenCount(12, is_exact=True)) == "12"
    assert str(TokenCount(12, is_exact=False)) == "~12"
    assert not estimate("x").is_exact


def test_nothing_takes_nothing() -> None:
    assert estimate("").tokens == estimate([]).tokens == 0


def test_prose_is_not_far_off() -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 100  # ten tokens each
    assert 1000 <= estimate(text).tokens <= 1400


@given(st.text(), st.text())
def test_more_text_is_never_fewer_tokens(first: str, second: str) -> None:
    assert estimate(first + second).tokens >= estimate(first).tokens
    messages: list[ChatMessage] = [{"role": "user", "content": first}, {"role": "assistant", "content": second}]
    assert estimate(messages).tokens > estimate(first).tokens
