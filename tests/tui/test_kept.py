"""What a restart finds, and what becomes of a message that cannot be kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from localqwen.chats.store import ChatStoreError, Store
from localqwen.chats.tree import Message, Tree
from localqwen.events import Finished
from tests.chats.full_disk import full_disk
from tests.tui.fakes import SIZE, FakeConnection, shows, type_text, until
from tests.tui.stage import killed, staged
from tui.app import ChatApp
from tui.widgets.composer import Composer


async def test_a_restart_finds_conversations_and_the_draft(store: Store) -> None:
    connection = FakeConnection()
    app = ChatApp(store, connection)
    async with app.run_test(size=SIZE) as pilot:
        await type_text(pilot, "remember me")
        await pilot.press("enter")
        connection.client.answer("I *will*.")
        await until(pilot, shows(pilot, "I will."))
        await type_text(pilot, "half a thou")
        await pilot.press("ctrl+q")

    app = ChatApp(store, FakeConnection())
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, shows(pilot, "New conversation", "remember me", "ready"))
        assert app.chat.query_one(Composer).text == ""
        await pilot.press("ctrl+l", "home", "enter")
        await until(pilot, shows(pilot, "I will.", "half a thou"))
        await pilot.press("g", "h", "t")
        assert app.chat.query_one(Composer).text == "half a thought"


async def test_the_draft_of_a_new_conversation_comes_back(store: Store) -> None:
    app = ChatApp(store, FakeConnection())
    async with app.run_test(size=SIZE) as pilot:
        await type_text(pilot, "unsent")
        await until(pilot, shows(pilot, "✎ unsent"))
        assert store.chats()[0].draft == "unsent"
    store.close()
    reopened = Store(store.path)
    app = ChatApp(reopened, FakeConnection())
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.chat.query_one(Composer).text == "unsent")
    reopened.close()


async def test_a_kill_in_the_middle_of_an_answer_keeps_both_it_and_the_draft(store: Store, tmp_path: Path) -> None:
    async with staged(store) as stage:
        await stage.begin("A story", "Once upon a time")
        await stage.write("half a thou")
        await stage.until(lambda: stage.kept_texts[-1] == "Once upon a time")
        await stage.until(lambda: stage.chat.draft == "half a thou")
        after = killed(store, tmp_path / "after")
    async with staged(after) as stage:
        await stage.sees("A story")
        await stage.press("ctrl+l", "enter")
        await stage.sees("Once upon a time", "■ stopped", "half a thou")
        await stage.slash("continue")
        await stage.hear(", in a land")
        await stage.ends()
        assert stage.kept_texts == ["A story", "Once upon a time, in a land"]
    after.close()


async def test_a_kill_keeps_an_answer_to_another_conversation_and_the_draft_of_each(
    store: Store, tmp_path: Path
) -> None:
    async with staged(store) as stage:
        await stage.begin("A story", "Once upon a time")
        story = stage.chat.id
        await stage.write("to the story")
        await stage.press("ctrl+n")
        await stage.sees("New conversation")
        await stage.write("about poems")
        stage.client.say(", in a land")
        await stage.until(lambda: [chat.draft for chat in store.chats()] == ["about poems", "to the story"])
        await stage.until(lambda: last(store, story).text == "Once upon a time, in a land")
        after = killed(store, tmp_path / "after")
    async with staged(after) as stage:
        await stage.sees("about poems", "✎ about poems")
        await stage.press("ctrl+l", "end", "enter")
        await stage.sees("Once upon a time, in a land", "■ stopped", "to the story")
    after.close()


async def test_a_kill_while_an_answer_goes_on_keeps_both_of_its_parts(store: Store, tmp_path: Path) -> None:
    async with staged(store) as stage:
        await stage.begin("A story", "Once upon a time")
        await stage.press("escape")
        await stage.rests()
        await stage.slash("continue")
        await stage.hear(", in a land")
        await stage.until(lambda: stage.kept_texts[-1].endswith("land"))
        after = killed(store, tmp_path / "after")
    async with staged(after) as stage:
        await stage.sees("A story")
        await stage.press("ctrl+l", "enter")
        await stage.sees("Once upon a time, in a land", "■ stopped")
    after.close()


async def test_a_kill_leaves_the_other_branches_alone(store: Store, tmp_path: Path) -> None:
    async with staged(store) as stage:
        await stage.ask("A story", "The first one.")
        await stage.press("ctrl+r")
        await stage.hear("The sec")
        await stage.until(lambda: "The sec" in stage.all_texts)
        after = killed(store, tmp_path / "after")
    async with staged(after) as stage:
        await stage.sees("A story")
        await stage.press("ctrl+l", "enter")
        await stage.sees("The sec", "2/2", "■ stopped")
        await stage.press("alt+left")
        await stage.sees("The first one.", "1/2")
    after.close()


async def test_an_app_that_fails_keeps_what_it_has(store: Store) -> None:
    with pytest.raises(ZeroDivisionError):
        async with staged(store) as stage:
            await stage.begin("A story", "Once upon a time")
            await stage.write("half a thou")
            await stage.until(lambda: stage.chat.draft == "half a thou" and stage.kept_texts[-1])
            stage.app.call_later(divide, 1, 0)
            await stage.until(lambda: not stage.app.is_running)
    async with staged(store) as stage:
        await stage.sees("A story")
        await stage.press("ctrl+l", "enter")
        await stage.sees("Once upon a time", "half a thou")


def divide(number: int, by: int) -> float:
    return number / by


def last(store: Store, chat: int) -> Message:
    return store.tree(chat).path(store.chat(chat).tip)[-1]


async def test_each_conversation_keeps_its_own_draft_while_they_are_walked_through(store: Store) -> None:
    async with staged(store) as stage:
        for title in ("first", "second"):
            await stage.press("ctrl+n")
            await stage.sees("New conversation")
            await stage.ask(title, f"to the {title}")
            await stage.write(f"draft of the {title}")
        for key, title in (("end", "first"), ("home", "second"), ("end", "first")):
            await stage.press("ctrl+l", key, "enter")
            await stage.sees(f"to the {title}")
            assert stage.composer.text == f"draft of the {title}"
        stage.composer.fill("")
        stage.composer.insert("another")
        await stage.press("ctrl+q")
    assert [chat.draft for chat in store.chats()] == ["draft of the second", "another"]


async def test_what_is_typed_while_a_conversation_is_left_is_kept_too(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("first", "to the first")
        await stage.write("one")
        keep = store.save_draft

        def slow(chat_id: int, text: str, *more: object) -> None:
            if text == "one":
                stage.app.call_from_thread(stage.composer.insert, " two")
            keep(chat_id, text, *more)  # type: ignore[arg-type]

        store.save_draft = slow  # type: ignore[method-assign,assignment]
        await stage.press("ctrl+n")
        await stage.sees("New conversation")
        assert stage.composer.text == ""
    assert [chat.draft for chat in store.chats()] == ["one two"]


async def test_a_message_that_cannot_be_kept_returns_to_the_composer(app: ChatApp, store: Store) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ChatStoreError("The disk is full.")

    store.ask = fail  # type: ignore[method-assign,assignment]
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await type_text(pilot, "precious")
        await pilot.press("enter")
        await until(pilot, shows(pilot, "The disk is full."))
        assert app.chat.query_one(Composer).text == "precious"


async def test_the_draft_behind_an_earlier_message_that_was_changed_is_kept(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("earlier", "An answer.")
        await stage.write("a long draft")
        await stage.press("up")
        await stage.until(lambda: stage.composer.text == "earlier")
        await stage.write("!")
        await stage.press("ctrl+n")
        await stage.sees("New conversation")
    assert store.chats()[0].draft == "a long draft\n\nearlier!"


async def test_what_is_typed_while_another_conversation_is_read_is_kept(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("first", "to the first")
        await stage.press("ctrl+n")
        await stage.ask("second", "to the second")
        read = store.tree

        def slow(chat_id: int) -> Tree:
            stage.app.call_from_thread(stage.composer.fill, "typed meanwhile")
            return read(chat_id)

        store.tree = slow  # type: ignore[method-assign]
        await stage.press("ctrl+l", "end", "enter")
        await stage.sees("to the first")
        store.tree = read  # type: ignore[method-assign]
        assert [chat.draft for chat in store.chats()] == ["typed meanwhile", ""]


async def test_a_command_is_no_draft(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("first", "an answer")
        await stage.write("/find abc")
        await stage.until(lambda: stage.chat.draft == "/find abc")
        await stage.press("enter")
        await stage.until(lambda: stage.chat.draft == "")


async def test_a_draft_that_cannot_be_kept_is_told_once_and_given_up_only_when_asked_twice(store: Store) -> None:
    def fail(*_: object) -> None:
        raise ChatStoreError("The disk is full.")

    async with staged(store) as stage:
        store.save_draft = fail  # type: ignore[method-assign,assignment]
        for word in ("one", "two", "three"):
            await stage.write(word)
            await stage.until(lambda: not stage.composer._debounce.is_set)
        await stage.hears_of("The disk is full.")
        assert sum("The disk is full." in one.message for one in stage.app._notifications) == 1
        await stage.press("ctrl+q")
        await stage.hears_of("Ctrl+Q again quits without it")
        assert stage.app.is_running
        assert stage.composer.text == "onetwothree"
        await stage.press("ctrl+q")
        await stage.until(lambda: not stage.app.is_running)


async def test_a_store_that_fails_is_told_of_and_ends_nothing(store: Store) -> None:
    def fail(*_: object) -> None:
        raise ChatStoreError("The disk is gone.")

    for name in ("chats", "abandoned_draft", "chats_with_queue", "sent_texts"):
        setattr(store, name, fail)
    async with staged(store) as stage:
        await stage.hears_of("The disk is gone.")
        await stage.write("draft")
        await stage.press("up")
        await stage.write("!")
        await stage.until(lambda: stage.composer.text in {"!draft", "draft!"})


async def test_the_store_is_never_asked_by_the_thread_that_paints(store: Store) -> None:
    asked: dict[str, threading.Thread] = {}
    store.ask(store.create_chat().id, None, "earlier")

    def noting(name: str) -> Callable[..., object]:
        ask = getattr(store, name)

        def noted(*args: object) -> object:
            asked[name] = threading.current_thread()
            return ask(*args)

        return noted

    names = {"sent_texts", "abandoned_draft", "chats", "chats_with_queue"}
    for name in names:
        setattr(store, name, noting(name))
    async with staged(store) as stage:
        await stage.press("up")
        await stage.until(lambda: stage.composer.text == "earlier" and asked.keys() == names)
    assert threading.main_thread() not in asked.values()


async def test_the_end_of_an_answer_that_cannot_be_kept_is_told_of_at_the_end(store: Store) -> None:
    async with staged(store) as stage:
        await stage.begin("first", "an answer")
        with full_disk(store.path):
            stage.client.events.put_nowait(Finished("stop"))
            await stage.hears_of("the disk is full")
            await stage.press("ctrl+q")
            await stage.hears_of("The end of an answer is not kept")
            assert stage.app.is_running
        await stage.press("ctrl+q")
        await stage.until(lambda: not stage.app.is_running)
    assert [message.state for message in stage.kept] == ["done", "done"]


async def test_quitting_does_not_wait_for_ever_for_what_is_being_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.screens.chat.SHUT_DOWN_SECONDS", 0.05)
    keep, goes_on = store.finish_answer, threading.Event()

    def slow(message: Message) -> None:
        goes_on.wait(20)
        keep(message)

    try:
        async with staged(store) as stage:
            store.finish_answer = slow  # type: ignore[method-assign]
            await stage.begin("first", "an answer")
            await stage.press("ctrl+q")
            await stage.until(lambda: not stage.app.is_running)
            goes_on.set()
    finally:
        goes_on.set()


async def test_what_waits_comes_back_only_when_it_is_kept_and_before_what_is_typed(store: Store) -> None:
    def fail(*_: object) -> None:
        raise ChatStoreError("The disk is full.")

    async with staged(store) as stage:
        await stage.begin("first", "an answer")
        await stage.send("second")
        await stage.write("typed on")
        await stage.until(lambda: stage.chat.draft == "typed on")
        await stage.write("!")
        keep, store.save_draft = store.save_draft, fail  # type: ignore[method-assign,assignment]
        await stage.app.chat.action_command("queue.clear")
        await stage.hears_of("The disk is full.")
        assert stage.composer.text == "typed on!"
        store.save_draft = keep  # type: ignore[method-assign]
        await stage.app.chat.action_command("queue.clear")
        await stage.until(lambda: stage.composer.text == "second\n\ntyped on!")
        assert store.queue(stage.chat.id) == []
