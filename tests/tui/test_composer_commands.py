"""Slash commands and the editor."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tui.composing import ComposerApp, burst, settled, shown, typing, until
from tests.tui.fakes import press
from tui.completion import SlashItem


async def test_a_command_is_offered_as_it_is_typed_and_run_with_enter() -> None:
    app = ComposerApp()
    async with app.run_test() as pilot:
        await press(pilot, "slash")
        await until(
            pilot, lambda: all(text in shown(app) for text in ("/new", "/model name", "Another model", "/help"))
        )
        await press(pilot, "n")
        await until(pilot, lambda: "/model" not in shown(app))
        await press(pilot, "enter")
        await until(pilot, lambda: app.commands == [("new", "")])
        assert app.composer.text == ""
        assert app.sent == []


async def test_commands_keep_their_place_in_a_burst() -> None:
    app = ComposerApp()
    async with app.run_test() as pilot:
        burst(app, *typing("/he"), "enter", *typing("/mo"), "enter", *typing("a b"), "enter", *typing("hello"), "enter")
        await settled(pilot)
        assert app.commands == [("help", ""), ("model", "a b")]
        assert app.sent_texts == ["hello"]


async def test_tab_completes_without_running() -> None:
    app = ComposerApp()
    async with app.run_test() as pilot:
        await press(pilot, "slash", "down", "down", "tab")
        assert app.composer.text == "/help"
        assert not app.popup.is_open
        await press(pilot, "ctrl+u", "slash", "m", "tab")
        assert app.composer.text == "/model "
        assert app.commands == []


async def test_the_rest_of_the_text_stays_when_a_command_is_run_from_the_popup() -> None:
    app = ComposerApp()
    async with app.run_test() as pilot:
        app.composer.fill("half a thought")
        await press(pilot, "ctrl+j", "up", "home", "ctrl+j", "up", "slash", "n", "enter")
        await until(pilot, lambda: app.commands == [("new", "")])
        assert app.composer.text == "half a thought\n"


@pytest.mark.parametrize("text", ["/nwe", "/new x", "/"])
async def test_a_mistaken_command_is_explained_and_stays(text: str) -> None:
    app = ComposerApp()
    async with app.run_test() as pilot:
        app.composer.fill(text)
        await press(pilot, "enter")
        await until(pilot, lambda: app.said)
        assert "/" in app.said[0]
        assert (app.composer.text, app.commands, app.sent) == (text, [], [])


async def test_two_slashes_send_one_and_paths_are_text() -> None:
    app = ComposerApp()
    async with app.run_test() as pilot:
        await press(pilot, *typing("//new"), "enter")
        await press(pilot, *typing("/etc/fstab"), "enter")
        assert app.sent_texts == ["/new", "/etc/fstab"]
        await press(pilot, "up", "up")
        assert app.composer.text == "//new"


async def test_an_earlier_command_opens_no_popup() -> None:
    app = ComposerApp(history=["/new"])
    async with app.run_test() as pilot:
        await press(pilot, "up")
        await settled(pilot)
        assert (app.composer.text, app.popup.is_open) == ("/new", False)
        await press(pilot, "enter")
        await until(pilot, lambda: app.commands == [("new", "")])


async def test_without_commands_a_slash_is_text() -> None:
    app = ComposerApp(commands=())
    async with app.run_test() as pilot:
        await press(pilot, *typing("/new"), "enter")
        assert app.sent_texts == ["/new"]


async def test_the_popup_closes_when_the_focus_goes() -> None:
    app = ComposerApp()
    async with app.run_test() as pilot:
        await press(pilot, "slash")
        assert app.popup.is_open
        app.screen.set_focus(None)
        await until(pilot, lambda: not app.popup.is_open)


def script(folder: Path, body: str) -> str:
    file = folder / "editor"
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)
    return str(file)


async def test_the_editor_gets_the_draft_and_gives_it_back(tmp_path: Path) -> None:
    app = ComposerApp(editor=script(tmp_path, 'sed -i "s/draft/better draft/" "$1"'))
    app.lends = True
    async with app.run_test() as pilot:
        await press(pilot, *typing("my draft"))
        burst(app, "ctrl+g", *typing("!"), "enter")
        await until(pilot, lambda: app.sent_texts == ["my better draft!"])


async def test_what_the_editor_changed_can_be_undone_and_its_failure_changes_nothing(tmp_path: Path) -> None:
    app = ComposerApp(editor=script(tmp_path, 'echo new > "$1"'))
    app.lends = True
    async with app.run_test() as pilot:
        await press(pilot, *typing("old"), "ctrl+g")
        await until(pilot, lambda: app.composer.text == "new")
        await press(pilot, "ctrl+z")
        assert app.composer.text == "old"
        script(tmp_path, "exit 1")
        await press(pilot, "ctrl+g")
        await until(pilot, lambda: app.said)
        assert "exit code 1" in app.said[0]
        assert app.composer.text == "old"


async def test_where_no_editor_can_open_it_is_said(tmp_path: Path) -> None:
    app = ComposerApp(editor=script(tmp_path, "true"))
    async with app.run_test() as pilot:
        await press(pilot, *typing("old"), "ctrl+g")
        await until(pilot, lambda: app.said)
        assert "cannot open here" in app.said[0]
        assert app.composer.text == "old"


async def test_without_colours_the_row_that_enter_takes_is_reversed() -> None:
    app = ComposerApp()
    app.theme = "ansi-dark"
    async with app.run_test() as pilot:
        await press(pilot, "slash", "down")
        segments = [segment for strip in app.screen._compositor.render_strips() for segment in strip]
        reversed_text = "".join(one.text for one in segments if one.style is not None and one.style.reverse)
        assert "/model" in reversed_text
        assert "/new" not in reversed_text
        assert "/help" not in reversed_text


async def test_a_row_that_is_too_long_is_cut_and_not_broken() -> None:
    app = ComposerApp(commands=[SlashItem("long", "word " * 40), SlashItem("other", "short")])
    async with app.run_test(size=(60, 20)) as pilot:
        await press(pilot, "slash")
        await until(pilot, lambda: "/other" in shown(app))
        lines = shown(app).splitlines()
        at = next(number for number, line in enumerate(lines) if "/long" in line)
        assert lines[at].rstrip().endswith("…")
        assert "/other" in lines[at + 1]
