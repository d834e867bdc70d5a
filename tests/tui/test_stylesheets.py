"""CSS that is parsed once for each theme."""

from __future__ import annotations

import pytest
from textual.css.errors import UnresolvedVariableError
from textual.css.parse import parse as textual_parse
from textual.css.stylesheet import Stylesheet

from tui.stylesheets import KeptStylesheet

CSS = "Label { color: $ink; } #a { background: $paper 50%; }"
DARK = {"ink": "white", "paper": "black"}
LIGHT = {"ink": "black", "paper": "white"}


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pieces of CSS that are parsed."""
    found: list[str] = []

    def counted(scope: str, css: str, *args: object, **options: object) -> object:
        found.append(css)
        return textual_parse(scope, css, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("textual.css.stylesheet.parse", counted)
    return found


def kept() -> KeptStylesheet:
    sheet = KeptStylesheet(DARK)
    sheet.add_source(CSS, ("a", ""))
    sheet.add_source("Input { color: $ink; }", ("b", ""), is_default_css=True)
    sheet.parse()
    return sheet


def test_the_rules_are_textuals() -> None:
    sheet = kept()
    for variables in (LIGHT, DARK, LIGHT):
        sheet.set_variables(variables)
        sheet.reparse()
        theirs = Stylesheet(variables=variables)
        theirs.source = dict(sheet.source)
        theirs.parse()
        assert sheet.css == theirs.css
        assert sheet.rules_map.keys() == theirs.rules_map.keys()


def test_a_theme_is_parsed_once(parses: list[str]) -> None:
    sheet = kept()
    assert len(parses) == 2
    sheet.set_variables(LIGHT)
    sheet.reparse()
    assert len(parses) == 4
    for variables in (DARK, LIGHT):
        sheet.set_variables(variables)
        sheet.reparse()
    assert len(parses) == 4


def test_the_next_theme_is_parsed_beforehand_a_piece_at_a_time(parses: list[str]) -> None:
    sheet = kept()
    before = sheet.css
    counts = [len(parses) for _ in sheet.prepare(LIGHT)]
    assert counts == [2, 3, 4]
    assert sheet.css == before
    sheet.set_variables(LIGHT)
    sheet.reparse()
    assert len(parses) == 4
    assert sheet.css != before


def test_what_comes_later_is_parsed_too(parses: list[str]) -> None:
    sheet = kept()
    list(sheet.prepare(LIGHT))
    sheet.add_source("Button { color: $paper; }", ("c", ""))
    sheet.set_variables(LIGHT)
    sheet.reparse()
    assert parses[-1].startswith("Button")
    assert "Button" in sheet.rules_map


def test_a_mistake_leaves_the_rules_as_they_were() -> None:
    sheet = kept()
    before = sheet.rules
    sheet.add_source("Label { color: $nothing; }", ("d", ""))
    with pytest.raises(UnresolvedVariableError, match="nothing"):
        sheet.reparse()
    assert sheet._rules is before
