from __future__ import annotations

import ast
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

import tui.sanitize
from tui.sanitize import inert, original, safe, safe_cells, safe_line, without_controls

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
    if not any(map(is_internal, text)):
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


EVERY = [chr(code) for code in range(sys.maxunicode + 1)]


def test_every_character_is_either_harmless_or_replaced() -> None:
    for char in EVERY:
        assert is_harmless(safe(char)) or char in "\t\n"
        assert is_harmless(safe_cells(char))
        assert is_harmless(char) <= (safe(char) == char or char in "\ufff9\ufffa\ufffb")


def test_inert_text_is_no_control_shows_the_same_and_gives_the_original_back() -> None:
    for char in EVERY:
        if not is_internal(char):
            made = inert(char)
            assert not is_control(made) or made in "\t\n"
            assert cell_len(made) == cell_len(safe_cells(made)) or made in "\t\n"
            assert safe_cells(made) == safe_cells(char)
            assert original(made) == without_controls(char)


@given(HOSTILE)
def test_the_original_of_any_text_comes_back(text: str) -> None:
    if not any(map(is_internal, text)):
        assert original(inert(text)) == without_controls(text)
        assert safe_cells(inert(text)).split() == safe_cells(text.replace("\r\n", "\n")).split()


def is_internal(char: str) -> bool:
    """Noncharacters, which no text holds that is meant for others."""
    return 0xFDD0 <= ord(char) <= 0xFDEF or ord(char) & 0xFFFE == 0xFFFE


def made_elsewhere() -> Iterator[tuple[str, ast.expr]]:
    """What is called safe outside of the module that makes it so."""
    maker = Path(tui.sanitize.__file__)
    for path in {*maker.parent.rglob("*.py")} - {maker}:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "SafeText":
                yield f"{path.name}:{node.lineno}", node.args[0]


def is_literal(text: ast.expr) -> bool:
    if isinstance(text, ast.IfExp):
        return is_literal(text.body) and is_literal(text.orelse)
    return isinstance(text, ast.Constant)


def test_nothing_but_literals_is_called_safe_elsewhere() -> None:
    made = list(made_elsewhere())
    assert made
    assert [where for where, text in made if not is_literal(text)] == []
