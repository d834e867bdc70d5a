"""Messages that are sent while an answer runs: they wait, in their order, over a stop and over a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from localqwen.chats.attachment import Attachment
from localqwen.chats.store import ChatStoreError, Store
from localqwen.chats.tree import Message
from localqwen.events import Finished
from tests.tui.stage import Stage, killed, staged


async def two_wait(stage: Stage) -> None:
    await stage.begin("first", "an answer")
    await stage.send("second")
    stage.composer.fill("third", [Attachment("notes.txt", "the notes")])
    await stage.press("enter")
    await stage.sees("2 queued", "second", "third", "notes.txt")
    assert stage.composer.outgoing.is_empty


async def test_what_waits_goes_out_in_its_order(store: Store) -> None:
    async with staged(store) as stage:
        await two_wait(stage)
        stage.client.events.put_nowait(Finished("stop"))
        await stage.until(lambda: len(stage.client.asked) == 2)
        assert "1 queued" in stage.hint
        stage.client.answer("to the second")
        await stage.until(lambda: len(stage.client.asked) == 3)
        stage.client.answer("to the third")
        await stage.rests()
        assert stage.kept_texts == ["first", "an answer", "second", "to the second", "third", "to the third"]
        assert "the notes" in stage.client.asked[2][-1]["content"]
        assert stage.store.queue(stage.chat.id) == []


async def test_after_a_stop_something_else_can_be_asked_and_sends_nothing_else(store: Store) -> None:
    async with staged(store) as stage:
        await two_wait(stage)
        await stage.press("escape")
        await stage.sees("■ stopped", "Enter sends · 2 queued until /send-queue", "waits for /send-queue")
        await stage.begin("something else first", "Of course.")
        await stage.send("and this behind it")
        await stage.sees("3 queued, 2 of them until /send-queue")
        stage.client.events.put_nowait(Finished("stop"))
        await stage.until(lambda: len(stage.client.asked) == 3)
        assert stage.kept_texts[2:5] == ["something else first", "Of course.", "and this behind it"]
        stage.client.answer("This as well.")
        await stage.rests()
        assert len(stage.client.asked) == 3
        await stage.sees("Enter sends · 2 queued until /send-queue")
        await stage.slash("send-queued")
        await stage.until(lambda: len(stage.client.asked) == 4)
        stage.client.answer("to the second")
        await stage.until(lambda: len(stage.client.asked) == 5)
        assert stage.kept_texts[6:9] == ["second", "to the second", "third"]


async def test_an_edit_after_a_stop_sends_nothing_else(store: Store) -> None:
    async with staged(store) as stage:
        await two_wait(stage)
        await stage.press("escape")
        await stage.sees("■ stopped")
        await stage.press("f5")
        await stage.fill("#edit", "in other words")
        await stage.press("ctrl+s")
        await stage.until(lambda: len(stage.client.asked) == 2)
        stage.client.answer("I see.")
        await stage.rests()
        assert stage.kept_texts == ["in other words", "I see."]
        assert len(stage.client.asked) == 2
        await stage.sees("Enter sends · 2 queued until /send-queue")


async def test_what_waits_can_be_sent_behind_an_answer_that_is_on_its_way(store: Store) -> None:
    async with staged(store) as stage:
        await two_wait(stage)
        await stage.press("escape")
        await stage.sees("■ stopped")
        await stage.begin("something else first", "Of course.")
        await stage.slash("send-queued")
        await stage.sees("Enter queues · 2 queued")
        await stage.misses("until /send-queue")
        stage.client.events.put_nowait(Finished("stop"))
        await stage.until(lambda: len(stage.client.asked) == 3)
        assert "second" in stage.kept_texts


async def test_after_an_error_it_waits_too(store: Store) -> None:
    async with staged(store) as stage:
        await two_wait(stage)
        stage.client.events.put_nowait(Finished("error", error="The prompt is too long."))
        await stage.sees("✗ The prompt is too long.", "Enter sends · 2 queued")
        assert len(stage.client.asked) == 1


async def test_it_outlives_a_kill(store: Store, tmp_path: Path) -> None:
    async with staged(store) as stage:
        await two_wait(stage)
        await stage.until(lambda: stage.kept_texts[-1] == "an answer")
        after = killed(store, tmp_path / "after")
    async with staged(after) as stage:
        await stage.sees("Messages wait to be sent in “first”")
        await stage.press("ctrl+l", "enter")
        await stage.sees("an answer", "■ stopped", "second", "third", "notes.txt", "Enter sends · 2 queued")
        await stage.begin("a word", "An answer to that.")
        stage.client.events.put_nowait(Finished("stop"))
        await stage.rests()
        await stage.slash("send-queued")
        await stage.until(lambda: len(stage.client.asked) == 2)
        stage.client.answer("late")
        await stage.until(lambda: len(stage.client.asked) == 3)
        stage.client.answer("later")
        await stage.rests()
        assert stage.kept_texts[:4] == ["first", "an answer", "a word", "An answer to that."]
        assert stage.kept_texts[4:] == ["second", "late", "third", "later"]
    after.close()


async def test_what_waits_is_taken_back_with_its_files_and_before_what_is_typed(store: Store) -> None:
    async with staged(store) as stage:
        await two_wait(stage)
        await stage.press("escape")
        await stage.sees("■ stopped")
        await stage.slash("unqueue")
        await stage.until(lambda: stage.composer.text == "second\n\nthird")
        await stage.sees("notes.txt")
        assert [file.name for file in stage.chat.draft_attachments] == ["notes.txt"]
        assert stage.store.queue(stage.chat.id) == []
        await stage.slash("unqueue")
        await stage.sees("Nothing waits to be sent.")


async def test_what_begins_with_a_slash_comes_back_as_it_was_typed(store: Store) -> None:
    async with staged(store) as stage:
        await stage.begin("first", "an answer")
        await stage.send("//new idea")
        await stage.sees("/new idea", "1 queued")
        await stage.press("escape")
        await stage.sees("■ stopped")
        await stage.slash("unqueue")
        await stage.until(lambda: stage.composer.text == "//new idea")
        await stage.until(lambda: stage.chat.draft == "//new idea")
        await stage.press("enter")
        await stage.until(lambda: len(stage.client.asked) == 2)
        assert stage.kept_texts[-2] == "/new idea"


async def test_an_earlier_message_is_no_command_after_a_restart(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("//quit", "Quit what?")
    async with staged(store) as stage:
        await stage.press("up")
        await stage.until(lambda: stage.composer.text == "//quit")
        await stage.press("enter")
        await stage.until(lambda: stage.client.asked)
        assert stage.client.asked[0][-1]["content"] == "/quit"


async def test_what_could_not_be_kept_comes_back_as_it_was_typed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> Message:
        raise ChatStoreError("the disk is full")

    monkeypatch.setattr(Store, "ask", full)
    async with staged(store) as stage:
        await stage.send("//new idea")
        await stage.hears_of("disk is full")
        await stage.until(lambda: stage.composer.text == "//new idea")
