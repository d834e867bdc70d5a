"""Two windows on one database: what the other one does is no bug of this one, and loses nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from localqwen.chats.attachment import Attachment
from localqwen.chats.session import AnswerStream, Conversation, MisplacedError
from localqwen.chats.store import ChatStoreError, Store
from localqwen.events import AnswerEvent, Delta, Finished
from localqwen.params import ChatMessage, SamplingParams
from tests.chats.full_disk import full_disk

FILE = Attachment("notes.txt", "the notes")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "chats.sqlite3")
    yield store
    store.close()


@pytest.fixture
def other(store: Store) -> Iterator[Store]:
    other = Store(store.path)
    yield other
    other.close()


async def in_both(store: Store, other: Store) -> tuple[Conversation, Conversation]:
    """A conversation with a draft, open in two windows."""
    here = Conversation(store)
    await here.save_draft("precious", (FILE,))
    assert here.chat is not None
    return here, await Conversation.open(other, here.chat.id)


async def test_a_message_of_the_other_window_can_be_gone_to(store: Store, other: Store) -> None:
    here, there = await in_both(store, other)
    await here.ask("first")
    assert here.chat is not None
    there = await Conversation.open(other, here.chat.id)
    added = await there.ask("second")
    await here.switch(added.id)
    assert [message.text for message in here.path] == ["first", "second"]
    with pytest.raises(MisplacedError, match="not in this conversation"):
        await here.switch(4711)


async def test_what_the_other_window_has_sent_is_not_sent_again_but_shown(store: Store, other: Store) -> None:
    here = Conversation(store)
    await here.ask("first")
    await here.enqueue("second")
    assert here.chat is not None
    there = await Conversation.open(other, here.chat.id)
    assert await there.take_next() is not None
    assert await here.take_next() is None
    assert [message.text for message in here.path] == ["first", "second"]


async def test_who_goes_on_with_a_deleted_conversation_has_it_back(store: Store, other: Store) -> None:
    here = Conversation(store)
    await here.ask("first")
    assert here.chat is not None
    other.delete(here.chat.id)
    await here.ask("second")
    assert [chat.id for chat in store.chats()] == [here.chat.id]
    other.delete(here.chat.id)
    await here.enqueue("third")
    assert [chat.id for chat in store.chats()] == [here.chat.id]


async def test_a_draft_that_the_other_window_clears_stays_where_it_is_still_shown(store: Store, other: Store) -> None:
    here, there = await in_both(store, other)
    await there.save_draft("", ())
    assert store.chats() == []
    await here.save_draft("precious", (FILE,))
    kept = store.chat(store.chats()[0].id)
    assert (kept.draft, kept.draft_attachments) == ("precious", (FILE,))


async def test_what_is_typed_after_the_other_window_has_cleared_the_draft_is_kept(store: Store, other: Store) -> None:
    here, there = await in_both(store, other)
    await there.save_draft("", ())
    await here.save_draft("precious!", (FILE,))
    kept = store.chat(store.chats()[0].id)
    assert (kept.draft, kept.draft_attachments) == ("precious!", (FILE,))


async def test_a_draft_with_which_the_other_window_has_gone_on_is_left_alone(store: Store, other: Store) -> None:
    here, there = await in_both(store, other)
    await there.save_draft("precious, and more")
    await here.save_draft("precious", (FILE,))
    assert [chat.draft for chat in store.chats()] == ["precious, and more"]


async def test_an_imported_answer_without_a_question_cannot_be_made_again(store: Store) -> None:
    here = Conversation(store)
    question = await here.ask("first")
    first = store.begin_answer(question.chat_id, question.id, here.params)
    second = store.begin_answer(question.chat_id, first.id, here.params)
    store._db.execute("UPDATE message SET parent_id = NULL WHERE id = ?", (first.id,))
    here = await Conversation.open(store, question.chat_id)
    for answer in (first, second):
        with pytest.raises(MisplacedError, match="nothing was asked"):
            here.rewind(answer.id)
    assert here.tip == second.id


async def test_who_goes_on_with_an_answer_of_a_deleted_conversation_has_it_back(store: Store, other: Store) -> None:
    here = Conversation(store)
    await here.ask("first")
    await here.respond(saying("one"), SamplingParams(), lambda: "m", lambda: None)
    assert here.chat is not None
    other.delete(here.chat.id)
    await here.resume(saying(" more"), SamplingParams(), lambda: "m", lambda: None)
    assert [chat.tip for chat in other.chats()] == [here.tip]


def saying(text: str) -> AnswerStream:
    async def stream(_: list[ChatMessage]) -> AsyncGenerator[AnswerEvent, None]:
        yield Delta(text)
        yield Finished("stop")

    return stream


async def test_the_end_of_an_answer_that_could_not_be_kept_is_kept_with_what_comes_next(
    store: Store, other: Store
) -> None:
    here = Conversation(store)
    await here.ask("first")
    with full_disk(store.path):
        with pytest.raises(ChatStoreError, match="full"):
            await here.respond(saying("one"), SamplingParams(), lambda: "m", lambda: None)
        assert store.owes
        with pytest.raises(ChatStoreError):
            store.settle()
    await here.save_draft("typed meanwhile")
    assert not store.owes
    assert here.chat is not None
    kept = other.tree(here.chat.id)[here.path[-1].id]
    assert (kept.text, kept.state) == ("one", "done")
    await here.resume(saying(" more"), SamplingParams(), lambda: "m", lambda: None)
    assert here.path[-1].text == "one more"


async def test_it_is_tried_once_more_when_the_file_is_closed(store: Store, other: Store) -> None:
    mine = Store(store.path)
    here = Conversation(mine)
    await here.ask("first")
    with full_disk(store.path), pytest.raises(ChatStoreError):
        await here.respond(saying("one"), SamplingParams(), lambda: "m", lambda: None)
    mine.close()
    assert here.chat is not None
    assert [message.text for message in other.tree(here.chat.id).path(here.tip)] == ["first", "one"]
