"""A temporary conversation goes only after a question, for it cannot be had back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from localqwen.chats.attachment import Attachment
from localqwen.chats.store import Store
from tests.tui.fakes import post_key
from tests.tui.stage import Stage, staged
from tui.screens.forget import ForgetScreen


async def a_temporary_one(stage: Stage) -> None:
    await stage.ask("Kept?", "Yes.")
    await stage.slash("temporary")
    await stage.ask("A secret?", "Nobody knows.")


@pytest.mark.parametrize("way", ["new", "temporary", "list"])
async def test_leaving_it_asks_first(store: Store, way: str) -> None:
    async def leave(stage: Stage) -> None:
        await (stage.press("ctrl+l", "down", "enter") if way == "list" else stage.slash(way))
        await stage.opens(ForgetScreen)
        await stage.sees("This conversation is kept nowhere")

    async with staged(store) as stage:
        await a_temporary_one(stage)
        await leave(stage)
        await stage.press("escape")
        await stage.is_back()
        await stage.sees("Nobody knows.")
        await leave(stage)
        await stage.press("enter")
        await stage.misses("Nobody knows.")


async def test_quitting_asks_first_and_the_second_time_means_it(store: Store) -> None:
    async with staged(store) as stage:
        await a_temporary_one(stage)
        await stage.press("ctrl+q")
        await stage.opens(ForgetScreen)
        await stage.press("escape")
        await stage.is_back()
        await stage.press("ctrl+q")
        await stage.opens(ForgetScreen)
        await stage.press("ctrl+q")
        await stage.until(lambda: not stage.app.is_running)


async def test_without_messages_there_is_no_question(store: Store) -> None:
    async with staged(store) as stage:
        await stage.slash("temporary")
        await stage.sees("Temporary: nothing is kept")
        await stage.press("ctrl+n")
        await stage.sees("New conversation")


async def test_its_answer_ends_when_it_is_left(store: Store) -> None:
    async with staged(store) as stage:
        await stage.slash("temporary")
        await stage.begin("A secret?", "Nobody")
        await stage.slash("new")
        await stage.opens(ForgetScreen)
        await stage.press("enter")
        await stage.until(lambda: stage.client.closed == 1)


async def a_draft(stage: Stage) -> None:
    await stage.write("half a secret")


async def a_file(stage: Stage) -> None:
    stage.composer.attach(Attachment("notes.txt", "the notes"))


@pytest.mark.parametrize("typed", [a_draft, a_file])
@pytest.mark.parametrize("key", ["ctrl+n", "ctrl+q"])
async def test_what_was_only_typed_is_asked_about_too(
    store: Store, typed: Callable[[Stage], Awaitable[None]], key: str
) -> None:
    async with staged(store) as stage:
        await stage.slash("temporary")
        await stage.sees("Temporary: nothing is kept")
        await typed(stage)
        await stage.press(key)
        await stage.opens(ForgetScreen)
        draft = stage.composer.draft
        await stage.press("escape")
        await stage.is_back()
        assert not draft.is_empty
        assert stage.composer.draft == draft
        await stage.press(key)
        await stage.opens(ForgetScreen)
        await stage.press("enter")
        await stage.until(lambda: not stage.app.is_running or stage.composer.draft.is_empty)
        assert store.chats() == []


async def test_what_is_typed_in_the_same_moment_is_asked_about(store: Store) -> None:
    async with staged(store) as stage:
        await stage.slash("temporary")
        await stage.sees("Temporary: nothing is kept")
        for key in ("x", "ctrl+q"):
            post_key(stage.pilot, key)
        await stage.opens(ForgetScreen)


@pytest.mark.parametrize("is_open", [True, False])
async def test_a_chat_that_is_temporary_as_a_whole_asks_before_it_ends(is_open: bool) -> None:
    memory = Store.temporary()
    async with staged(memory) as stage:
        await stage.ask("A secret?", "Nobody knows.")
        if not is_open:
            await stage.press("ctrl+n")  # which loses nothing: the list has it
            await stage.sees("Temporary: nothing is kept", "A secret?")
        await stage.press("ctrl+q")
        await stage.opens(ForgetScreen)
        await stage.sees("These conversations are kept nowhere")
        await stage.press("escape")
        await stage.is_back()
        await stage.press("ctrl+q", "enter")
        await stage.until(lambda: not stage.app.is_running)
    memory.close()


async def test_a_chat_that_is_temporary_as_a_whole_ends_at_once_while_nothing_is_in_it() -> None:
    memory = Store.temporary()
    async with staged(memory) as stage:
        await stage.press("ctrl+q")
        await stage.until(lambda: not stage.app.is_running)
    memory.close()


async def test_the_conversations_of_such_a_chat_are_named_and_deleted_like_others() -> None:
    memory = Store.temporary()
    async with staged(memory) as stage:
        await stage.ask("A secret?", "Nobody knows.")
        await stage.slash("rename Mine")
        await stage.until(lambda: stage.list_titles == ["Mine"])
        await stage.slash("delete")
        await stage.hears_of("Deleted. /undo has it back, until you quit.")
        await stage.until(lambda: stage.list_titles == [])
    memory.close()


@pytest.mark.parametrize(("command", "what"), [("rename", "name"), ("pin", "pin"), ("delete", "delete")])
async def test_why_it_is_not_named_pinned_or_deleted_is_said(store: Store, command: str, what: str) -> None:
    async with staged(store) as stage:
        await a_temporary_one(stage)
        await stage.slash(command)
        await stage.hears_of(f"A temporary conversation is kept nowhere: there is nothing to {what}.")


async def test_its_messages_are_not_offered_again_in_the_next_one(store: Store) -> None:
    async with staged(store) as stage:
        await a_temporary_one(stage)
        await stage.press("up")
        await stage.until(lambda: stage.composer.text == "A secret?")
        await stage.press("down")
        await stage.slash("new")
        await stage.opens(ForgetScreen)
        await stage.press("enter")
        await stage.sees("New conversation")
        await stage.press("up")
        await stage.until(lambda: stage.composer.text)
        assert stage.composer.text == "Kept?"
