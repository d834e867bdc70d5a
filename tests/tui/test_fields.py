from __future__ import annotations

import pytest
from textual import events
from textual.app import App, ComposeResult

from tests.tui.test_sanitize import is_harmless
from tui.widgets.fields import LineField, TextField, shown_line

EVIL = "a\x1b]52;c;x\x07\x9bb\u202ec\rd\te\u2066"


class Fields(App[None]):
    def compose(self) -> ComposeResult:
        yield LineField(id="line")
        yield TextField(id="text")


@pytest.mark.parametrize("name", ["line", "text"])
async def test_a_paste_into_a_field_shows_no_control(name: str) -> None:
    app = Fields()
    async with app.run_test() as pilot:
        app.query_one(f"#{name}").focus()
        await pilot.pause()
        app.post_message(events.Paste(EVIL))
        await pilot.pause()
        assert "]52;c;x" in "".join(text for line in shown(app) for text in line)
        assert all(is_harmless(text) for line in shown(app) for text in line)


def shown(app: Fields) -> list[list[str]]:
    return [[segment.text for segment in strip] for strip in app.screen._compositor.render_strips()]


async def test_a_line_takes_the_first_line_of_a_paste_without_its_controls() -> None:
    app = Fields()
    async with app.run_test() as pilot:
        field = app.query_one(LineField)
        field.focus()
        await pilot.pause()
        app.post_message(events.Paste("one\t\x1b\u202etwo\nthree"))
        await pilot.pause()
        assert field.value == "one two"


async def test_a_text_keeps_lines_and_bidirectional_marks_and_shows_only_the_lines() -> None:
    app = Fields()
    async with app.run_test() as pilot:
        field = app.query_one(TextField)
        field.focus()
        await pilot.pause()
        app.post_message(events.Paste("one\r\n\x1b\u202etwo"))
        await pilot.pause()
        assert field.text == "one\n\u202etwo"
        assert is_harmless(field.get_line(1).plain)


def test_a_shown_line_leaves_its_tabs_to_the_text_area() -> None:
    assert shown_line("a\tb\u202ec").plain == "a\tb\N{WORD JOINER}c"
