"""Going about with keys: between the composer, the conversation and the list, and typing where nothing is typed."""

from __future__ import annotations

import pytest
from textual import events

from localqwen.chats.store import Store
from localqwen.settings import Settings
from tests.tui.fakes import post_key
from tests.tui.stage import Stage, staged


def is_writing(stage: Stage) -> bool:
    return stage.composer.query_one("#composer-text").has_focus


@pytest.mark.parametrize("size", [(110, 36), (60, 20)])
async def test_tab_goes_between_the_composer_and_the_conversation_whatever_is_shown(
    store: Store, size: tuple[int, int]
) -> None:
    async with staged(store, size=size) as stage:
        await stage.ask("A question", "The answer")
        await stage.write("half a thought")
        for _ in range(2):
            await stage.press("tab")
            assert stage.transcript.has_focus
            await stage.press("tab")
            assert is_writing(stage)
        assert stage.composer.text == "half a thought"
        await stage.press("ctrl+l")
        assert stage.app.chat.desk.sidebar.options.has_focus
        await stage.press("ctrl+l")
        assert is_writing(stage)


async def test_tab_leads_back_beside_an_open_find_bar_and_under_another_key(store: Store) -> None:
    async with staged(store, settings=Settings(keys=(("transcript.write", "w"),))) as stage:
        await stage.ask("A question", "The answer")
        await stage.press("f3")
        await stage.write("answer")
        stage.composer.focus()
        await stage.press("tab")
        assert stage.transcript.has_focus
        await stage.press("w")
        assert is_writing(stage)


async def test_what_is_typed_in_the_conversation_is_written_in_its_order(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("A question", "The answer")
        await stage.press("tab", "j")
        await stage.until(lambda: stage.marked)
        for char in "Tell me more":
            post_key(stage.pilot, char)
        await stage.until(lambda: stage.composer.text == "Tell me more")
        assert is_writing(stage)


async def test_a_click_in_the_conversation_does_not_swallow_a_command_or_a_paste(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("A question", "The answer")
        await stage.click("The answer")
        await stage.until(lambda: stage.transcript.has_focus)
        await stage.press("/")
        await stage.sees("/attach FILE")
        assert stage.composer.text == "/"
        stage.composer.fill("")
        await stage.click("The answer")
        stage.app.post_message(events.Paste("a paste"))
        await stage.until(lambda: stage.composer.text == "a paste")
        stage.app.chat.set_focus(None)
        await stage.press("x")
        await stage.until(lambda: stage.composer.text == "a pastex")


async def test_keys_of_the_conversation_and_spaces_stay_there(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("A question", "The answer")
        await stage.press("tab", "space", "j", "c", "n", "alt+x", "ctrl+x")
        assert stage.transcript.has_focus
        assert stage.composer.text == ""


async def test_the_other_names_of_commands_work_and_what_follows_some_is_offered(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("A question", "The answer")
        await stage.slash("up")
        await stage.until(lambda: "The answer" in stage.marked)
        await stage.slash("chat Be brief.")
        await stage.until(lambda: stage.chat.system == "Be brief.")
        await stage.write("/theme nord")
        await stage.press("tab")
        assert stage.composer.text == "/theme nord"
        await stage.press("enter")
        await stage.until(lambda: stage.app.theme == "nord")
