from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.sanitize import _CLEAN, _DIRTY, _DIRTY_CELL, _TABLE, safe, safe_cells, safe_line, without_controls

HOSTILE = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("\x1b\x9b\x07\x7f\r\n\t\u202e\u2066\u2028[]();m"),
        st.characters(categories=["Cc", "Cs", "Cf"]),
    )
)
BIDI = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def is_harmless(text: str) -> bool:
    return not any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} or char in BIDI for char in text)


@given(HOSTILE)
def test_only_newlines_and_tabs_remain_of_the_controls(text: str) -> None:
    assert is_harmless(safe(text).replace("\n", "").replace("\t", ""))


@given(HOSTILE)
def test_a_line_is_one_line(text: str) -> None:
    assert is_harmless(safe_line(text))


@given(HOSTILE)
def test_a_laid_out_line_keeps_its_length(text: str) -> None:
    assert is_harmless(safe_cells(text))
    assert len(safe_cells(text)) == len(text)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Cf", "Zl", "Zp"])))
def test_harmless_text_is_left_as_it_is(text: str) -> None:
    assert safe(text) == text
    assert safe_cells(text) == text


@given(HOSTILE)
def test_sanitizing_twice_changes_nothing(text: str) -> None:
    assert safe(safe(text)) == safe(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]52;c;ZXZpbA==\x07", "␛]52;c;ZXZpbA==␇"),
        ("\x9b31m", "\N{REPLACEMENT CHARACTER}31m"),
        ("a\r\nb\rc", "a\nb␍c"),
        ("user\u202etxt.exe", "usertxt.exe"),
        ("العربية\u200f!", "العربية\u200f!"),
        ("👩\u200d💻", "👩\u200d💻"),
    ],
)
def test_what_was_tried_is_seen(text: str, shown: str) -> None:
    assert safe(text) == shown


def test_the_original_is_kept_but_for_controls() -> None:
    assert without_controls("a\r\nb\rc\t\x00\x1b[1m\x7f\x9b\u0085d\u202eé中") == "a\nb\nc\t[1md\u202eé中"
    assert without_controls("\ud800") == "?"


@given(st.text())
def test_without_controls_drops_controls_and_nothing_else(text: str) -> None:
    kept = without_controls(text)
    assert kept == "".join(
        char for char in text.replace("\r\n", "\n").replace("\r", "\n") if char in "\t\n" or not is_control(char)
    )


def is_control(char: str) -> bool:
    return unicodedata.category(char) == "Cc"


def test_what_is_looked_for_is_what_is_replaced() -> None:
    every = [chr(code) for code in range(sys.maxunicode + 1)]
    assert {ord(char) for char in every if _DIRTY.match(char)} == set(_CLEAN)
    assert {ord(char) for char in every if _DIRTY_CELL.match(char)} == set(_TABLE)
