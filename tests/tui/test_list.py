"""The list of conversations, walked through with keys."""

from __future__ import annotations

from pathlib import Path

from localqwen.chats.attachment import Attachment
from localqwen.chats.store import Store
from localqwen.events import Finished
from localqwen.settings import Settings
from tests.tui.stage import Stage, killed, staged
from tui.screens.line import LineScreen


async def three_chats(stage: Stage) -> None:
    for title in ("oldest", "middle", "newest"):
        await stage.press("ctrl+n")
        await stage.sees("New conversation")
        await stage.ask(title, f"to the {title}")
    await stage.until(lambda: stage.list_titles == ["newest", "middle", "oldest"])


def pointed(stage: Stage) -> str:
    options = stage.app.chat.desk.sidebar.options
    return "" if options.highlighted is None else stage.list_titles[options.highlighted]


async def test_another_conversation_than_the_open_one_is_renamed_and_pinned(store: Store) -> None:
    async with staged(store) as stage:
        await three_chats(stage)
        await stage.press("ctrl+l", "down", "r")
        await stage.opens(LineScreen)
        await stage.fill("#line", "renamed")
        await stage.press("enter")
        await stage.until(lambda: stage.list_titles == ["newest", "renamed", "oldest"])
        assert pointed(stage) == "renamed"
        await stage.press("p")
        await stage.until(lambda: stage.list_titles == ["▪ renamed", "newest", "oldest"])
        assert pointed(stage) == "▪ renamed"
        await stage.sees("to the newest")
        assert (store.chats()[0].title, store.chats()[0].pinned) == ("renamed", True)


async def test_conversations_are_deleted_one_by_one_and_had_back(store: Store) -> None:
    async with staged(store) as stage:
        await three_chats(stage)
        await stage.press("ctrl+l", "down", "delete")
        await stage.until(lambda: stage.list_titles == ["newest", "oldest"])
        assert pointed(stage) == "oldest"
        await stage.press("delete")
        await stage.until(lambda: stage.list_titles == ["newest"])
        await stage.press("u")
        await stage.until(lambda: stage.list_titles == ["newest", "oldest"])
        await stage.press("u")
        await stage.until(lambda: stage.list_titles == ["newest", "middle", "oldest"])
        await stage.sees("to the middle")
        assert store.deleted_chats() == []


async def test_what_was_deleted_before_a_restart_comes_back_too(store: Store) -> None:
    async with staged(store) as stage:
        await three_chats(stage)
        await stage.press("ctrl+l", "delete")
        await stage.sees("Deleted. /undo has it back")
    async with staged(store) as stage:
        await stage.slash("undo")
        await stage.sees("to the newest")


async def test_the_mark_stays_while_an_answer_ends_elsewhere(store: Store) -> None:
    async with staged(store) as stage:
        await three_chats(stage)
        await stage.begin("more", "half")
        await stage.press("ctrl+l", "end")
        assert pointed(stage) == "oldest"
        stage.client.events.put_nowait(Finished("stop"))
        await stage.rests()
        await stage.press("p")
        await stage.until(lambda: stage.list_titles[0] == "▪ oldest")
        assert pointed(stage) == "▪ oldest"


async def test_a_conversation_that_is_being_answered_is_not_deleted(store: Store) -> None:
    async with staged(store) as stage:
        await stage.begin("A long one", "it begins")
        await stage.press("ctrl+l", "home", "delete")
        await stage.sees("It is being answered: stop that first")
        assert [chat.title for chat in store.chats()] == ["A long one"]
        await stage.press("escape", "escape")
        await stage.sees("■ stopped")


async def test_titles_are_made_from_the_first_message_and_cut_at_a_word(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("word " * 40, "many")
        assert stage.chat.title.endswith("word…")
        await stage.sees(stage.chat.title[:20])


async def test_in_a_narrow_terminal_the_list_is_there_while_it_is_walked_through(store: Store) -> None:
    async with staged(store, size=(70, 24)) as stage:
        await stage.ask("a question", "an answer")
        assert "Conversations" not in stage.screen
        for leave in ("enter", "escape", "ctrl+l"):
            await stage.press("ctrl+l")
            await stage.sees("Enter opens, r names, p pins", "Delete deletes, u undoes")
            await stage.press("home", leave)
            await stage.misses("Enter opens", "Conversations")
            assert stage.composer.query_one("#composer-text").has_focus
        await stage.press("ctrl+l", "home", "r")
        await stage.opens(LineScreen)
        await stage.fill("#line", "renamed")
        await stage.press("enter")
        await stage.is_back()
        await stage.until(lambda: stage.list_titles == ["renamed"])


async def test_the_list_goes_and_comes_with_the_room_for_it(store: Store) -> None:
    async with staged(store) as stage:
        await stage.sees("Conversations")
        await stage.pilot.resize_terminal(70, 24)
        await stage.misses("Conversations")
        await stage.pilot.resize_terminal(120, 40)
        await stage.sees("Conversations")
        await stage.press("ctrl+s")
        await stage.pilot.resize_terminal(110, 40)
        await stage.misses("Conversations")


async def test_a_pencil_marks_every_conversation_in_which_something_was_not_sent(store: Store, tmp_path: Path) -> None:
    async with staged(store) as stage:
        await three_chats(stage)
        await stage.write("half a thought")
        await stage.until(lambda: stage.list_titles == ["✎ newest", "middle", "oldest"])
        await stage.press("ctrl+l", "end", "enter")
        await stage.sees("to the oldest")
        stage.composer.attach(Attachment("notes.txt", "the notes"))
        await stage.until(lambda: stage.list_titles == ["✎ newest", "middle", "✎ oldest"])
        assert store.left_behind() == []  # whoever typed them is there
        after = killed(store, tmp_path / "after")
        await stage.begin("And?")
        await stage.until(lambda: stage.list_titles == ["oldest", "✎ newest", "middle"])
        await stage.write("once")
        await stage.until(lambda: stage.list_titles[0] == "✎ oldest")
        await stage.press("enter")
        await stage.until(lambda: stage.list_titles[0] == "oldest")
    async with staged(after) as stage:
        await stage.hears_of("A message that was not sent is in “newest” and 1 more: the list marks it with ✎.")
        assert stage.list_titles == ["✎ newest", "middle", "✎ oldest"]
    after.close()


async def test_its_hint_names_the_keys_that_the_settings_give_it(store: Store) -> None:
    async with staged(store, settings=Settings(keys=(("list.rename", "f6"), ("list.delete", "x")))) as stage:
        await stage.press("ctrl+l")
        await stage.sees("Enter opens, F6 names, p", "x deletes, u undoes")
