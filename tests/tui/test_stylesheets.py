"""CSS that is parsed once for each theme."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from textual.css.errors import UnresolvedVariableError
from textual.css.model import RuleSet
from textual.css.parse import parse as textual_parse
from textual.css.stylesheet import Stylesheet
from textual.strip import Strip

from localqwen.chats.store import Store
from localqwen.settings import Settings
from tests.tui.fakes import FakeConnection, until
from tui.app import ChatApp
from tui.stylesheets import KeptStylesheet
from tui.theme import DARK, LIGHT

CSS = "Label { color: $ink; } #a { background: $paper 50%; }"
BLACK = {"ink": "white", "paper": "black"}
WHITE = {"ink": "black", "paper": "white"}


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pieces of CSS that are parsed."""
    found: list[str] = []

    def counted(scope: str, css: str, *args: Any, **options: Any) -> Iterable[RuleSet]:
        found.append(css)
        return textual_parse(scope, css, *args, **options)

    monkeypatch.setattr("textual.css.stylesheet.parse", counted)
    return found


def kept() -> KeptStylesheet:
    sheet = KeptStylesheet(BLACK)
    sheet.add_source(CSS, ("a", ""))
    sheet.add_source("Input { color: $ink; }", ("b", ""), is_default_css=True)
    sheet.parse()
    return sheet


def test_the_rules_are_textuals() -> None:
    sheet = kept()
    for variables in (WHITE, BLACK, WHITE):
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
    sheet.set_variables(WHITE)
    sheet.reparse()
    assert len(parses) == 4
    for variables in (BLACK, WHITE):
        sheet.set_variables(variables)
        sheet.reparse()
    assert len(parses) == 4


def test_the_next_theme_is_parsed_beforehand_a_piece_at_a_time(parses: list[str]) -> None:
    sheet = kept()
    before = sheet.css
    counts = [len(parses) for _ in sheet.prepare(WHITE)]
    assert counts == [2, 3, 4]
    assert sheet.css == before
    sheet.set_variables(WHITE)
    sheet.reparse()
    assert len(parses) == 4
    assert sheet.css != before


def test_what_comes_later_is_parsed_too(parses: list[str]) -> None:
    sheet = kept()
    list(sheet.prepare(WHITE))
    sheet.add_source("Button { color: $paper; }", ("c", ""))
    sheet.set_variables(WHITE)
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


async def test_a_changed_theme_looks_as_one_from_the_start(tmp_path: Path) -> None:
    def pictured(app: ChatApp) -> list[Strip]:
        return app.screen._compositor.render_strips(app.size)

    store = Store(tmp_path / "chats.sqlite3")
    changed, begun = (
        ChatApp(store, FakeConnection(), settings=Settings(theme=name)) for name in (DARK.name, LIGHT.name)
    )
    async with begun.run_test(size=(90, 20)) as pilot:
        await pilot.pause()
        begun.chat.desk.composer.blur()
        await pilot.pause()
        wanted = pictured(begun)
    async with changed.run_test(size=(90, 20)) as pilot:
        await pilot.pause()
        changed.chat.desk.composer.blur()
        await pilot.pause()
        assert pictured(changed) != wanted
        changed.theme = LIGHT.name
        await pilot.pause()
        await until(pilot, lambda: pictured(changed) == wanted)
        assert isinstance(changed.stylesheet, KeptStylesheet)
    store.close()
