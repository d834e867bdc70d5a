"""Typing, sending, keys and their remapping, history, the meter."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from localqwen.chats.attachment import Attachment
from tests.tui.composing import ComposerApp, burst, settled, shown, typing, until
from tests.tui.fakes import press
from tests.tui.test_sanitize import is_harmless
from tui.attachments import Outgoing
from tui.widgets.composer.meter import budget_words

HOSTILE = "A\x1b]52;c;ZXZpbA==\x07B\x1b[2J\x9b31m\u202eC[b]D[/b]"


async def test_enter_sends_and_the_others_break_lines() -> None:
    app = ComposerApp()
    async with app.run_test() as pilot:
        await press(pilot, "a", "ctrl+j", "b", "shift+enter", "c", "alt+enter", "d", "enter")
        assert app.sent == [Outgoing("a\nb\nc\nd")]
        assert app.composer.text == ""


async def test_keys_that_come_in_one_burst_keep_their_order() -> None:
    app = ComposerApp(history=["old"])
    async with app.run_test() as pilot:
        burst(app, *typing("a\nbx"), "backspace", "enter", *typing("cd"), "up", "enter", *typing("e"))
        await settled(pilot)
        assert app.sent_texts == ["a\nb", "a\nb"]
        # "cd" waited while an earlier message was sent again.
        assert app.composer.text == "cde"


async def test_nothing_is_not_sent() -> None:
    app = ComposerApp()
    async with app.run_test() as pilot:
        await press(pilot, "enter", "space", "enter")
        assert app.sent == []
        app.composer.fill("keep", [Attachment("file", "text")])
        await press(pilot, "enter")
        assert app.sent == [Outgoing("keep", (Attachment("file", "text"),))]
        assert app.composer.draft == Outgoing()


async def test_attachments_go_out_without_a_text() -> None:
    app = ComposerApp()
    async with app.run_test() as pilot:
        app.composer.attach(Attachment("file", "text"))
        await press(pilot, "enter")
        assert app.sent == [Outgoing("", (Attachment("file", "text"),))]


async def test_remapped_keys_work_in_a_burst_and_the_old_ones_no_more() -> None:
    app = ComposerApp()
    async with app.run_test() as pilot:
        app.set_keymap({"composer.send": "f9", "composer.newline": "ctrl+b,f8"})
        burst(app, *typing("a"), "f8", *typing("b"), "f9", *typing("c"), "alt+enter", "enter", *typing("d"), "f9")
        await settled(pilot)
        assert app.sent_texts == ["a\nb", "c\nd"]
        app.set_keymap({})
        burst(app, *typing("e"), "f9", "enter")
        await settled(pilot)
        assert app.sent_texts[2:] == ["e"]


async def test_it_grows_to_a_third_of_the_screen_at_any_size() -> None:
    app = ComposerApp()
    async with app.run_test(size=(60, 30)) as pilot:
        assert app.composer.outer_size.height == 3
        await press(pilot, *["ctrl+j"] * 4)
        await until(pilot, lambda: app.composer.outer_size.height == 7)
        await press(pilot, *["ctrl+j"] * 10)
        await until(pilot, lambda: app.composer.outer_size.height == 10)
        app.composer.attach(Attachment("file", "text"))
        await until(pilot, lambda: "file" in shown(app))
        await until(pilot, lambda: app.composer.outer_size.height == 10)
        await pilot.resize_terminal(60, 60)
        await until(pilot, lambda: app.composer.outer_size.height == 18)
        await press(pilot, "enter")
        await press(pilot, "x", "enter")
        await until(pilot, lambda: app.composer.outer_size.height == 3)


async def test_up_and_down_walk_through_what_was_sent_and_back_to_the_draft() -> None:
    app = ComposerApp(history=["first", "two\nlines"])
    async with app.run_test() as pilot:
        await press(pilot, *typing("draft"), "up")
        assert app.composer.text == "two\nlines"
        assert app.composer.draft == Outgoing("draft")
        assert app.composer.outgoing == Outgoing("two\nlines")
        await press(pilot, "up")
        assert app.composer.text == "first"
        await press(pilot, "up")
        assert app.composer.text == "first"
        await press(pilot, "down")
        assert app.composer.text == "two\nlines"
        await press(pilot, "down")
        assert app.composer.text == "draft"
        await press(pilot, "down", "up", "up", "enter")
        assert app.sent_texts == ["first"]
        assert app.composer.text == "draft"


async def test_up_and_down_inside_a_text_move_the_cursor() -> None:
    app = ComposerApp(history=["old"])
    async with app.run_test() as pilot:
        await press(pilot, "a", "ctrl+j", "b", "up")
        assert (app.composer.text, app.area.cursor_location) == ("a\nb", (0, 1))
        await press(pilot, "down")
        assert (app.composer.text, app.area.cursor_location) == ("a\nb", (1, 1))
        await press(pilot, "down", "up", "up")
        assert app.composer.text == "old"


async def test_a_changed_earlier_message_is_a_draft_and_can_be_undone() -> None:
    app = ComposerApp(history=["old"])
    async with app.run_test() as pilot:
        await press(pilot, *typing("draft"), "up", "x")
        assert app.composer.draft == Outgoing("draft\n\noldx")
        await press(pilot, "ctrl+z", "ctrl+z")
        assert app.composer.draft == Outgoing("draft")


async def test_an_earlier_message_that_is_changed_without_a_draft_is_the_draft() -> None:
    app = ComposerApp(history=["old"])
    async with app.run_test() as pilot:
        await press(pilot, "up", "x")
        assert app.composer.draft == Outgoing("oldx")


async def test_changes_are_told_once_for_many_keys_and_not_after_sending_or_filling() -> None:
    app = ComposerApp()
    async with app.run_test() as pilot:
        await press(pilot, *typing("abc"))
        await until(pilot, lambda: app.changes)
        assert app.changes[-1] == Outgoing("abc")
        assert len(app.changes) <= 2
        await press(pilot, "d", "enter")
        count = len(app.changes)
        await press(pilot, "e")
        app.composer.fill("filled")
        await pilot.pause(0.4)
        assert len(app.changes) == count


async def test_pages_are_the_screens_and_escape_goes_on() -> None:
    app = ComposerApp()
    async with app.run_test() as pilot:
        await press(pilot, "a", "escape")
        assert app.stopped == 1


@pytest.mark.parametrize(
    ("draft", "left", "estimate", "words", "over"),
    [
        (None, None, False, "", False),
        (1204, 30100, False, "draft 1,204 of 30,100 tokens left", False),
        (1204, 30100, True, "draft about 1,204 of 30,100 tokens left", False),
        (None, 30100, False, "30,100 tokens left", False),
        (1, None, False, "draft 1 token", False),
        (1200, 1000, False, "draft 1,200 tokens, 200 more than fit", True),
        (5, -3, True, "draft about 5 tokens, 5 more than fit", True),
    ],
)
def test_the_meter_says_what_is_known(
    draft: int | None, left: int | None, estimate: bool, words: str, over: bool
) -> None:
    assert budget_words(draft, left, estimate=estimate) == (words, over)


async def test_the_meter_is_in_the_border_and_warns() -> None:
    app = ComposerApp()
    async with app.run_test() as pilot:
        app.composer.set_budget(1204, 30100)
        await until(pilot, lambda: "draft 1,204 of 30,100 tokens left" in shown(app))
        assert not app.composer.has_class("-over")
        app.composer.set_budget(31204, 30100)
        await until(pilot, lambda: "1,104 more than fit" in shown(app))
        assert app.composer.has_class("-over")


async def test_no_control_reaches_the_screen_or_the_model_and_marks_only_the_model() -> None:
    app = ComposerApp(history=[HOSTILE])
    async with app.run_test(size=(160, 30)) as pilot:
        for put in (app.composer.fill, app.composer.insert):
            put(HOSTILE)
            app.composer.attach(Attachment(HOSTILE, "text"))
            await until(pilot, lambda: "[b]D[/b]" in shown(app) and "×" in shown(app))
            assert all(is_harmless(seg.text) for line in app.screen._compositor.render_strips() for seg in line)
            await press(pilot, "enter")
        assert set(app.sent_texts) == {"A]52;c;ZXZpbA==B[2J31m\u202eC[b]D[/b]"}
        await press(pilot, "up")
        await until(pilot, lambda: "[b]D[/b]" in shown(app))
        assert all(is_harmless(seg.text) for line in app.screen._compositor.render_strips() for seg in line)


async def test_tabs_keep_their_width() -> None:
    app = ComposerApp()
    async with app.run_test() as pilot:
        app.composer.fill("a\tb")
        await until(pilot, lambda: "a   b" in shown(app))


async def test_a_draft_of_a_megabyte_can_be_held_and_typed_into() -> None:
    text = "a line of some length\n" * 48_000
    app = ComposerApp()
    async with app.run_test() as pilot:
        app.composer.fill(text)
        await press(pilot, "x")
        assert app.composer.draft == Outgoing(text + "x")


def test_what_has_changed_is_painted_soon_because_the_package_is_imported_before_textual() -> None:
    code = "import tui.app; from textual import constants; print(constants.MAX_FPS)"
    environment = {name: value for name, value in os.environ.items() if name != "TEXTUAL_FPS"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "480"
