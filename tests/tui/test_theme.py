"""Every theme works with the transcript, and those that promise contrast keep it."""

from __future__ import annotations

import pytest
from rich.style import Style
from textual.color import Color
from textual.theme import BUILTIN_THEMES, Theme

from tests.tui.contrast import ratio
from tui.theme import CONTRAST_DARK, CONTRAST_LIGHT, CYCLE, DARK, THEMES, first_theme, next_theme, theme_names
from tui.widgets.transcript.styles import Styles

ALL = {**BUILTIN_THEMES, **{theme.name: theme for theme in THEMES}}


def color(style: Style) -> Color:
    assert style.color is not None
    return Color.from_rich_color(style.color)


def styles_of(theme: Theme) -> Styles:
    return Styles.from_theme(theme.to_color_system().generate())


@pytest.mark.parametrize("name", sorted(ALL))
def test_person_and_answer_differ_in_every_theme(name: str) -> None:
    styles = styles_of(ALL[name])
    assert styles.person_bar.color != styles.base.color
    assert styles.selection.reverse or styles.selection.bgcolor not in {None, styles.base.bgcolor}


@pytest.mark.parametrize("name", ["ansi-dark", "ansi-light"])
def test_the_terminals_own_colours_are_left_alone(name: str) -> None:
    styles = styles_of(ALL[name])
    assert styles.selection.reverse
    assert styles.muted.dim
    for style in (styles.base, styles.name, styles.code, styles.error, styles.person):
        assert style.color is None or not style.color.is_default or style.color.name == "default"
        assert style.color is None or style.color.triplet is None


@pytest.mark.parametrize("theme", [CONTRAST_DARK, CONTRAST_LIGHT], ids=lambda theme: theme.name)
def test_high_contrast_is_high(theme: Theme) -> None:
    back = Color.parse(theme.background or "")
    for name in ("foreground", "primary", "secondary", "accent", "success", "warning", "error"):
        assert ratio(Color.parse(getattr(theme, name)), back) >= 7, name


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_text_can_be_read(theme: Theme) -> None:
    back, styles = Color.parse(theme.background or ""), styles_of(theme)
    assert ratio(color(styles.base), back) >= 7
    for style in (styles.name, styles.error, styles.warning, styles.link):
        assert ratio(color(style), back) >= 4.5
    assert ratio(color(styles.muted), back) >= 3


def test_without_colours_the_terminals_own_are_the_basis() -> None:
    assert first_theme("nord", ALL, {"NO_COLOR": "1"}) == "ansi-dark"
    assert first_theme("nord", ALL, {"NO_COLOR": ""}) == "ansi-dark"
    assert first_theme("nord", ALL, {}) == "nord"
    assert first_theme("unheard-of", ALL, {}) == DARK.name


def test_our_own_themes_are_listed_first() -> None:
    names = theme_names(ALL)
    assert names[:4] == [theme.name for theme in THEMES]
    assert names[4:6] == ["ansi-dark", "ansi-light"]
    assert len(names) == len(set(names)) >= 10


def test_the_themes_come_in_turns() -> None:
    name, seen = DARK.name, []
    for _ in CYCLE:
        seen.append(name)
        name = next_theme(name)
    assert tuple(seen) == CYCLE
    assert name == DARK.name
    assert next_theme("nord") == DARK.name
