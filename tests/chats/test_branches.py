from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from localqwen.chats.attachment import Attachment
from localqwen.chats.session import AnswerStream, BusyError, Conversation, MisplacedError
from localqwen.chats.store import ChatStoreError, Store
from localqwen.chats.transfer import Transfer
from localqwen.chats.tree import Message
from localqwen.events import AnswerEvent, Delta, Finished, Usage
from localqwen.params import ChatMessage, SamplingParams
from tests.chats.fakes import HangingStream, said, scripted

PARAMS = SamplingParams()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "chats.sqlite3")
    yield store
    store.close()


async def respond(conversation: Conversation, stream: AnswerStream) -> Message:
    return await conversation.respond(stream, PARAMS, lambda: "demo", lambda: None)


async def resume(conversation: Conversation, stream: AnswerStream) -> Message:
    return await conversation.resume(stream, PARAMS, lambda: "demo", lambda: None)


async def turn(conversation: Conversation, text: str, answer: str) -> Message:
    await conversation.ask(text)
    return await respond(conversation, said(answer))


def texts(conversation: Conversation) -> list[str]:
    return [message.text for message in conversation.path]


async def reopened(store: Store, conversation: Conversation) -> Conversation:
    assert conversation.chat is not None
    return await Conversation.open(store, conversation.chat.id)


async def test_regenerating_keeps_the_old_answer_beside_the_new_one(store: Store) -> None:
    conversation = Conversation(store)
    old = await turn(conversation, "q", "old")
    await turn(conversation, "and then?", "more")
    conversation.rewind(old.id)
    assert texts(conversation) == ["q"]
    assert texts(await reopened(store, conversation)) == ["q", "old", "and then?", "more"]
    new = await respond(conversation, said("new"))
    assert texts(conversation) == texts(await reopened(store, conversation)) == ["q", "new"]
    assert [conversation.tree.position(one.id) for one in (old, new)] == [(1, 2), (2, 2)]

    await conversation.switch(old.id)
    assert texts(conversation) == texts(await reopened(store, conversation)) == ["q", "old", "and then?", "more"]
    assert conversation.answer is None


async def test_an_edited_question_is_a_branch_and_leaves_the_draft_alone(store: Store) -> None:
    conversation = Conversation(store)
    await turn(conversation, "q", "a")
    await conversation.save_draft("typing", [Attachment("n", "t")])
    await conversation.edit(conversation.path[0].id, "better q", [Attachment("file", "text")])
    await respond(conversation, said("better a"))
    again = await reopened(store, conversation)
    assert texts(again) == ["better q", "better a"]
    assert again.path[0].attachments == (Attachment("file", "text"),)
    assert again.tree.position(again.path[0].id) == (2, 2)
    assert (again.draft, again.draft_attachments) == ("typing", (Attachment("n", "t"),))


async def test_an_edited_answer_is_a_branch_that_can_be_continued(store: Store) -> None:
    conversation = Conversation(store)
    old = await turn(conversation, "q", "wrong")
    edited = await conversation.edit_answer(old.id, "Right is")
    assert (edited.state, edited.model, edited.usage) == ("done", "demo", None)
    heard: list[list[ChatMessage]] = []

    async def stream(told: list[ChatMessage]) -> AsyncGenerator[AnswerEvent, None]:
        heard.append(told)
        yield Delta(" this")
        yield Finished("stop", Usage(9, 1))

    grown = await resume(conversation, stream)
    assert (grown.id, grown.text, grown.state) == (edited.id, "Right is this", "done")
    assert heard[0][-1] == {"role": "assistant", "content": "Right is"}
    assert conversation.tree[old.id].text == "wrong"
    assert (await reopened(store, conversation)).path == conversation.path


async def test_a_stopped_answer_is_continued_in_place_and_its_statistics_are_summed(store: Store) -> None:
    conversation = Conversation(store)
    await conversation.ask("q")
    first = Usage(10, 4, 2, 1.0, 2.0)
    cut = await respond(conversation, scripted([Delta("one"), Finished("length", first)]))
    assert (cut.state, cut.is_cut) == ("done", True)
    assert (await reopened(store, conversation)).path[-1] == cut
    second = Usage(14, 6, 14, 0.5, 1.0)
    grown = await resume(conversation, scripted([Delta(" two"), Finished("error", second, "out of memory")]))
    assert (grown.text, grown.state, grown.error, grown.is_cut) == ("one two", "error", "out of memory", False)
    assert grown.usage == Usage(10, 10, 2, 1.5, 3.0)
    again = await resume(conversation, scripted([Delta("!"), Finished("stop", Usage(20, 1, 0, 0, 0))]))
    assert (again.text, again.state, again.error) == ("one two!", "done", None)
    assert again.usage == Usage(10, 11, 2, 1.5, 0.0)
    assert len(conversation.tree) == 2
    assert (await reopened(store, conversation)).path == conversation.path


async def test_the_text_so_far_is_on_the_disk_all_the_time_that_more_is_awaited(store: Store) -> None:
    conversation = Conversation(store)
    await conversation.ask("q")
    await respond(conversation, scripted([Delta("precious"), Finished("cancelled")]))
    stream = HangingStream([])
    resuming = asyncio.create_task(resume(conversation, stream))
    await stream.silent.wait()
    kept = (await reopened(store, conversation)).path[-1]
    assert (kept.text, kept.state) == ("precious", "streaming")
    conversation.stop()
    assert ((await resuming).text, (await resuming).state) == ("precious", "stopped")


async def test_an_answer_that_failed_before_its_first_word_is_begun_again_in_place(store: Store) -> None:
    conversation = Conversation(store)
    await conversation.ask("q")
    failed = await respond(conversation, scripted([Finished("error", error="no model")]))
    heard: list[ChatMessage] = []

    async def stream(told: list[ChatMessage]) -> AsyncGenerator[AnswerEvent, None]:
        heard.extend(told)
        yield Delta("there")
        yield Finished("stop")

    grown = await resume(conversation, stream)
    assert (grown.id, grown.text, grown.error) == (failed.id, "there", None)
    assert heard == [{"role": "user", "content": "q"}]


async def test_a_window_cannot_continue_what_another_one_is_writing(store: Store) -> None:
    conversation = Conversation(store)
    await turn(conversation, "q", "a")
    other, stream = await reopened(store, conversation), HangingStream([])
    resuming = asyncio.create_task(resume(other, stream))
    await stream.silent.wait()
    with pytest.raises(ChatStoreError, match="another window"):
        await resume(conversation, said("x"))
    other.stop()
    await resuming
    assert (await resume(conversation, said("b"))).text == "ab"


async def test_nothing_moves_under_an_answer(store: Store) -> None:
    conversation = Conversation(store)
    old = await turn(conversation, "q", "a")
    conversation.rewind(old.id)
    stream = HangingStream([Delta("b")])
    answering = asyncio.create_task(respond(conversation, stream))
    await stream.silent.wait()
    with pytest.raises(BusyError):
        conversation.rewind(old.id)
    for change in (
        conversation.ask("x"),
        conversation.edit(old.id, "x"),
        conversation.switch(old.id),
        conversation.take_next(),
        respond(conversation, said("x")),
        resume(conversation, said("x")),
    ):
        with pytest.raises(BusyError):
            await change
    conversation.stop()
    assert (await answering).text == "b"


async def test_a_question_can_be_gone_back_to_and_an_answer_to_nothing_cannot(store: Store) -> None:
    conversation = Conversation(store)
    await turn(conversation, "q", "a")
    question, _ = conversation.path
    await turn(conversation, "and then?", "more")
    conversation.rewind(question.id)
    assert texts(conversation) == ["q"]
    await respond(conversation, said("b"))
    assert texts(await reopened(store, conversation)) == ["q", "b"]

    lone = Message(1, 0, None, "assistant", "Hello.", "done", 1.0)
    chat = store.add(Transfer("t", 1.0, 1.0, "", PARAMS, (lone,), 1))
    imported = await Conversation.open(store, chat.id)
    with pytest.raises(MisplacedError, match="nothing was asked"):
        imported.rewind(imported.path[0].id)


async def test_a_person_s_words_are_no_answer(store: Store) -> None:
    conversation = Conversation(store)
    answer = await turn(conversation, "q", "a")
    question = conversation.path[0]
    with pytest.raises(MisplacedError, match="the user's"):
        await conversation.edit_answer(question.id, "x")
    with pytest.raises(MisplacedError, match="the assistant's"):
        await conversation.edit(answer.id, "x")
    with pytest.raises(MisplacedError, match="not in this conversation"):
        await conversation.switch(10**6)
    with pytest.raises(MisplacedError, match="no question"):
        await respond(conversation, said("x"))
    conversation.rewind(answer.id)
    with pytest.raises(MisplacedError, match="no answer to continue"):
        await resume(conversation, said("x"))


async def test_esc_before_the_answer_has_begun_stops_it_as_well(store: Store) -> None:
    conversation = Conversation(store)
    await conversation.ask("q")
    stream = HangingStream([])
    answering = asyncio.create_task(respond(conversation, stream))
    await asyncio.sleep(0)
    conversation.stop()
    assert (await answering).state == "stopped"


async def test_a_cancellation_in_a_commit_leaves_memory_and_disk_alike(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    begin_answer = store.begin_answer

    def slowly(chat_id: int, parent_id: int, params: SamplingParams) -> Message:
        begun.set()
        assert go_on.wait(20)
        return begin_answer(chat_id, parent_id, params)

    monkeypatch.setattr(store, "begin_answer", slowly)
    conversation = Conversation(store)
    await conversation.ask("q")
    answering = asyncio.create_task(respond(conversation, HangingStream([])))
    await asyncio.to_thread(begun.wait, 20)
    answering.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await answering
    again = await reopened(store, conversation)
    assert again.path == conversation.path
    assert [message.state for message in again.path] == ["done", "stopped"]


def test_a_late_save_does_not_shorten_an_answer_that_goes_on(store: Store) -> None:
    chat = store.create_chat()
    question = store.ask(chat.id, None, "?")
    answer = store.begin_answer(chat.id, question.id, PARAMS)
    store.save_answer(answer.id, "a\0 long text")
    store.save_answer(answer.id, "a\0")
    assert store.tree(chat.id)[answer.id].text == "a\0 long text"
