"""The dialog that changes a message: what it takes, what it keeps, and what it leaves as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from textual.widgets import TextArea

from localqwen.chats.attachment import Attachment
from localqwen.chats.store import ChatStoreError, Store
from localqwen.settings import Settings
from tests.tui.stage import Stage, killed, staged
from tests.tui.test_sanitize import is_harmless
from tui.app import ChatApp
from tui.screens.chat_settings import ChatSettingsScreen
from tui.screens.edit import EditScreen

FOREIGN = "a\u202eb\x1b]52;c;x\x07\u2028c\u200f"


async def editing(stage: Stage) -> None:
    await stage.press("f5")
    await stage.opens(EditScreen)
    await stage.until(lambda: stage.app.screen.query("#edit"))


def shown(stage: Stage) -> str:
    return stage.app.screen.query_one("#edit", TextArea).text


async def test_an_empty_text_is_refused_in_the_dialog(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("first", "one")
        for keys in ((), ("alt+up",)):
            await stage.press(*keys)
            await editing(stage)
            await stage.fill("#edit", " \n ")
            await stage.press("ctrl+s")
            await stage.sees("There is no text: write some, or Esc cancels.")
            await stage.press("escape", "escape")
            await stage.is_back()
        assert stage.all_texts == ["first", "one"]
        assert len(stage.client.asked) == 1


async def test_files_alone_are_a_message_and_are_named(store: Store) -> None:
    async with staged(store) as stage:
        stage.composer.fill("What is it?", [Attachment("notes.txt", "the notes"), Attachment("b\x1b.txt", "b")])
        await stage.press("enter")
        await stage.until(lambda: stage.client.asked)
        stage.client.answer("Notes.")
        await stage.rests()
        await editing(stage)
        await stage.sees("With notes.txt, b␛.txt")
        await stage.fill("#edit", "")
        await stage.press("ctrl+s")
        await stage.until(lambda: len(stage.client.asked) == 2)
        assert "the notes" in stage.client.asked[1][0]["content"]


async def test_an_edit_that_cannot_be_kept_stays_in_the_dialog(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ChatStoreError("the disk is full")

    async with staged(store) as stage:
        await stage.ask("first", "one")
        await editing(stage)
        await stage.fill("#edit", "precious")
        with monkeypatch.context() as broken:
            broken.setattr(store, "branch", fail)
            await stage.press("ctrl+s")
            await stage.sees("The disk is full", "precious")
        assert len(stage.client.asked) == 1
        await stage.press("ctrl+s")
        await stage.until(lambda: len(stage.client.asked) == 2)
        await stage.is_back()
        assert stage.kept_texts[0] == "precious"


async def test_a_look_at_a_foreign_text_leaves_it_as_it_was(store: Store) -> None:
    store.ask(store.create_chat().id, None, FOREIGN)
    async with staged(store) as stage:
        await stage.press("ctrl+l", "enter")
        await stage.until(lambda: stage.open.path)
        await editing(stage)
        assert is_harmless(stage.screen.replace("\n", ""))
        await stage.press("ctrl+s")
        await stage.is_back()
        assert stage.all_texts == [FOREIGN]
        await editing(stage)
        await stage.press("!", "ctrl+s")
        await stage.until(lambda: stage.client.asked)
        assert stage.kept_texts[0] == "a\u202eb]52;c;x\nc\u200f!"


async def test_a_look_at_a_foreign_system_prompt_leaves_it_as_it_was(store: Store) -> None:
    async with staged(store, settings=Settings(system_prompt=FOREIGN)) as stage:
        await stage.slash("chat")
        await stage.opens(ChatSettingsScreen)
        await stage.fill("#param-seed", "3")
        await stage.press("ctrl+s")
        await stage.is_back()
        await stage.until(lambda: stage.open.params.seed == 3)
        assert stage.open.system == FOREIGN


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """One that writes a line at the end."""

    @contextmanager
    def lent(_: ChatApp) -> Iterator[None]:
        yield

    monkeypatch.setattr(ChatApp, "suspend", lent)
    path = tmp_path / "editor"
    path.write_text("#!/bin/sh\necho 'and more' >>\"$1\"\n")
    path.chmod(0o755)
    return str(path)


async def test_the_text_is_written_on_in_the_persons_own_editor(store: Store, editor: str) -> None:
    async with staged(store, settings=Settings(editor=editor)) as stage:
        await stage.ask("first\n", "one")
        await editing(stage)
        await stage.sees("Ctrl+G opens your editor")
        await stage.press("ctrl+g")
        await stage.sees("and more")
        await stage.press("ctrl+s")
        await stage.until(lambda: len(stage.client.asked) == 2)
        assert stage.kept_texts[0] == "first\nand more\n"


async def test_an_editor_that_is_not_there_is_told_of_in_the_dialog(store: Store) -> None:
    async with staged(store, settings=Settings(editor="/no/such-editor")) as stage:
        await stage.ask("first", "one")
        await editing(stage)
        await stage.press("ctrl+g")
        await stage.sees("The settings name the editor /no/such-editor")
        assert shown(stage) == "first"


async def test_an_edit_outlives_a_kill_and_is_offered_again(store: Store, tmp_path: Path) -> None:
    async with staged(store) as stage:
        await stage.ask("first", "one")
        await stage.ask("second", "two")
        chat, message = stage.chat.id, stage.kept[0].id
        await stage.press(*["alt+up"] * 4)
        await editing(stage)
        await stage.write(", in other words")
        await stage.until(lambda: store.unfinished(chat, message) == "first, in other words")
        after = killed(store, tmp_path / "after")
    async with staged(after) as stage:
        await stage.hears_of("A message that was being edited is in “first”")
        await stage.press("ctrl+l", "enter")
        await stage.sees("two")
        await stage.press(*["alt+up"] * 4)
        await editing(stage)
        await stage.sees("What you typed before is here again.", "first, in other words")
        await stage.press("ctrl+s")
        await stage.until(lambda: stage.client.asked)
        assert stage.kept_texts[0] == "first, in other words"
        assert after.left_behind() == []
        assert after.unfinished(chat, message) is None
    after.close()


async def test_an_edit_that_is_given_up_is_not_offered_again(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("first", "one")
        message = stage.kept[0].id
        await editing(stage)
        await stage.write("!")
        await stage.until(lambda: store.unfinished(stage.chat.id, message) == "first!")
        await stage.press("escape", "escape")
        await stage.is_back()
        await stage.until(lambda: store.unfinished(stage.chat.id, message) is None)
        await editing(stage)
        assert shown(stage) == "first"


async def test_quitting_keeps_an_edit_without_a_question(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("first", "one")
        chat, message = stage.chat.id, stage.kept[0].id
        await editing(stage)
        await stage.fill("#edit", "first!")
        await stage.press("ctrl+q")
        await stage.until(lambda: not stage.app.is_running)
    assert store.unfinished(chat, message) == "first!"


async def test_an_edit_whose_draft_cannot_be_kept_is_asked_about(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ChatStoreError("the disk is full")

    async with staged(store) as stage:
        await stage.ask("first", "one")
        await editing(stage)
        monkeypatch.setattr(store, "save_unfinished", fail)
        await stage.write("!")
        await stage.sees("The disk is full")
        await stage.press("ctrl+q")
        await stage.sees("Ctrl+Q again gives the changes up")


async def test_a_system_prompt_outlives_a_kill_and_is_offered_again(store: Store, tmp_path: Path) -> None:
    async with staged(store) as stage:
        await stage.slash("chat")
        await stage.opens(ChatSettingsScreen)
        await stage.fill("#system", "You are a pirate.")
        await stage.until(lambda: [one.kind for one in store.left_behind()] == [] and store.chats())
        chat = store.chats()[0].id
        await stage.until(lambda: store.unfinished(chat, None) == "You are a pirate.")
        after = killed(store, tmp_path / "after")
        await stage.press("escape", "escape")
        await stage.is_back()
        await stage.until(lambda: store.chats() == [])
    async with staged(after) as stage:
        await stage.hears_of("A system prompt that was being written is in “Untitled”")
        await stage.press("ctrl+l", "enter")
        await stage.until(lambda: stage.open.chat)
        await stage.slash("chat")
        await stage.sees("You are a pirate.", "What you typed before is here again.")
        await stage.press("ctrl+s")
        await stage.is_back()
        await stage.until(lambda: stage.open.system == "You are a pirate.")
        await stage.until(lambda: after.left_behind() == [])
    after.close()
