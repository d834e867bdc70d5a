from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localqwen.chats.attachment import Attachment
from localqwen.chats.session import Conversation
from localqwen.chats.store import Store
from localqwen.chats.unfinished_store import Left


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "chats.sqlite3")
    yield store
    store.close()


def test_texts_of_several_messages_and_of_the_system_prompt_are_apart(store: Store) -> None:
    first = store.ask(store.create_chat().id, None, "first")
    second = store.ask(first.chat_id, first.id, "second")
    for message_id in (first.id, second.id, None):
        store.save_unfinished(first.chat_id, message_id, "half")
        store.save_unfinished(first.chat_id, message_id, f"whole of {message_id}")
    store.save_unfinished(first.chat_id, second.id, None)
    found = [store.unfinished(first.chat_id, message_id) for message_id in (first.id, second.id, None)]
    assert found == [f"whole of {first.id}", None, "whole of None"]


def test_an_accepted_text_is_not_unfinished_any_more(store: Store) -> None:
    message = store.ask(store.create_chat().id, None, "first")
    store.save_unfinished(message.chat_id, message.id, "half")
    store.branch(message, "whole")
    assert store.unfinished(message.chat_id, message.id) is None


def test_what_is_deleted_for_good_takes_its_texts_along(store: Store) -> None:
    message = store.ask(store.create_chat().id, None, "first")
    store.save_unfinished(message.chat_id, message.id, "half")
    store.delete(message.chat_id)
    assert store.purge(now=1e12) == 1
    assert store.unfinished(message.chat_id, message.id) is None


def test_what_a_dead_process_has_left_is_told_and_what_a_living_one_writes_is_not(store: Store) -> None:
    drafted, filed, edited, alone, deleted = (store.create_chat().id for _ in range(5))
    for chat_id in (drafted, filed, edited, deleted):
        message = store.ask(chat_id, None, f"chat {chat_id}")
        if chat_id == edited:
            store.save_unfinished(chat_id, message.id, "half")
            store.save_unfinished(chat_id, None, "half a prompt")
    for chat_id in (drafted, alone, deleted):
        store.save_draft(chat_id, "half a thought")
    store.save_draft(filed, "", [Attachment("notes.txt", "the notes")])
    store.delete(deleted)
    other = Store(store.path)
    assert store.left_behind() == other.left_behind() == []
    assert {chat.id for chat in other.chats() if chat.is_drafted} == {drafted, filed, alone}
    store.close()
    assert set(other.left_behind()) == {
        Left("draft", drafted, f"chat {drafted}"),
        Left("draft", filed, f"chat {filed}"),
        Left("edit", edited, f"chat {edited}"),
        Left("system", edited, f"chat {edited}"),
    }
    other.close()


async def test_a_conversation_in_which_there_is_only_half_a_prompt_is_there_as_long_as_that(store: Store) -> None:
    conversation = Conversation(store)
    await conversation.save_unfinished(None, None)
    assert store.chats() == []
    await conversation.save_unfinished(None, "You are")
    assert await conversation.unfinished(None) == "You are"
    await conversation.save_draft("typed")
    await conversation.save_draft("")
    assert len(store.chats()) == 1
    await conversation.save_unfinished(None, None)
    assert store.chats() == []
    assert await conversation.unfinished(None) is None
