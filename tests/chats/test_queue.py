from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from localqwen.chats.attachment import Attachment
from localqwen.chats.session import Conversation
from localqwen.chats.store import Store
from localqwen.events import Delta
from localqwen.params import SamplingParams
from tests.chats.fakes import HangingStream, said

FILES = (Attachment("a.txt", "text\0"), Attachment("b", ""))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "chats.sqlite3")
    yield store
    store.close()


async def test_what_is_typed_while_an_answer_runs_is_asked_after_it_in_order(store: Store) -> None:
    conversation, stream = Conversation(store), HangingStream([Delta("a")])
    await conversation.ask("one")
    answering = asyncio.create_task(conversation.respond(stream, SamplingParams(), lambda: "m", lambda: None))
    await stream.silent.wait()
    await conversation.save_draft("two", FILES)
    await conversation.enqueue("two", FILES)
    assert (conversation.draft, conversation.draft_attachments) == ("", ())
    await conversation.enqueue("three")
    await conversation.save_draft("four")
    conversation.stop()
    await answering

    assert conversation.chat is not None
    assert store.chats_with_queue() == [conversation.chat.id]
    recovered = await Conversation.open(store, conversation.chat.id)
    assert [queued.text for queued in recovered.queue] == ["two", "three"]
    asked = await recovered.take_next()
    assert asked is not None
    assert (asked.text, asked.attachments, asked.parent_id) == ("two", FILES, conversation.tip)
    assert recovered.path[-1] == asked
    await recovered.respond(said("b"), SamplingParams(), lambda: "m", lambda: None)
    assert [message.text for message in recovered.path] == ["one", "a", "two", "b"]
    assert recovered.draft == "four"

    # The other window still believes that both wait.
    three = await conversation.take_next()
    assert three is not None
    assert three.text == "three"
    assert await conversation.take_next() is None
    assert await recovered.take_next() is None
    assert store.chats_with_queue() == []


async def test_what_is_held_waits_for_a_word_and_what_is_queued_afterwards_does_not(store: Store) -> None:
    conversation = Conversation(store)
    await conversation.enqueue("one")
    conversation.hold()
    await conversation.enqueue("two")
    assert [queued.text for queued in conversation.due] == ["two"]
    taken = [await conversation.take_next(due=True), await conversation.take_next(due=True)]
    assert [message and message.text for message in taken] == ["two", None]
    assert [queued.text for queued in conversation.queue] == ["one"]
    assert conversation.chat is not None
    recovered = await Conversation.open(store, conversation.chat.id)
    assert await recovered.take_next(due=True) is None
    recovered.release()
    assert await recovered.take_next(due=True) is not None


async def test_a_queued_message_can_be_taken_back(store: Store) -> None:
    conversation = Conversation(store)
    first = await conversation.enqueue("one", FILES)
    await conversation.enqueue("two")
    assert await conversation.remove(first.id) == first
    assert await conversation.remove(first.id) is None
    assert [queued.text for queued in conversation.queue] == ["two"]
    assert conversation.chat is not None
    assert [queued.text for queued in store.queue(conversation.chat.id)] == ["two"]


async def test_a_queue_keeps_its_conversation_and_a_deleted_one_waits_for_nothing(store: Store) -> None:
    conversation = Conversation(store)
    await conversation.enqueue("later")
    await conversation.save_draft("x")
    await conversation.save_draft("")
    (chat,) = store.chats()
    store.delete(chat.id)
    assert store.chats_with_queue() == []
