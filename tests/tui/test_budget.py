from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from localqwen.chats.attachment import Attachment, content_of
from localqwen.chats.session import Conversation
from localqwen.chats.store import Store
from localqwen.chats.tree import Message, history
from localqwen.events import Ready, Usage
from tests.tui.fakes import FakeConnection
from tui.attachments import Outgoing
from tui.backend import Backend
from tui.budget import MOST_COUNTED, Budget, Spent


async def conversation_with_answer(store: Store, usage: Usage | None, model: str | None = None) -> Conversation:
    conversation = Conversation(store)
    question = await conversation.ask("What is the capital of Japan?")
    answer = store.begin_answer(question.chat_id, question.id, conversation.params)
    kept = Message(
        answer.id, answer.chat_id, question.id, "assistant", "Tokyo.", "done", answer.created, model, usage=usage
    )
    store.finish_answer(kept)
    return await Conversation.open(store, question.chat_id)


def budget() -> Budget:
    return Budget(Backend(FakeConnection()))


async def test_before_a_model_is_there_nobody_knows_the_window(store: Store) -> None:
    conversation = await conversation_with_answer(store, Usage(prompt_tokens=1000, completion_tokens=20))
    spent = await budget().look(conversation, Outgoing("word " * 70))
    assert (spent.draft, spent.left, spent.is_estimate) == (100, None, True)


async def ready(window: int) -> tuple[Budget, FakeConnection]:
    """A budget whose model is there."""
    connection = FakeConnection(window=window)
    backend = Backend(connection)
    changed = asyncio.Event()
    backend.on_change = changed.set
    backend.start()
    while not isinstance(backend.state, Ready):
        await changed.wait()
        changed.clear()
    return Budget(backend), connection


async def test_what_an_answer_was_made_from_is_not_counted_again(store: Store) -> None:
    conversation = await conversation_with_answer(store, Usage(prompt_tokens=1000, completion_tokens=20))
    made, connection = await ready(4096)
    connection.client.counts = {"word": 7}
    assert await made.look(conversation, Outgoing("word")) == Spent(7, 4096 - 1020, (), is_estimate=False)


async def test_what_waits_before_the_draft_takes_its_part(store: Store) -> None:
    conversation = await conversation_with_answer(store, Usage(prompt_tokens=1000, completion_tokens=20))
    made, connection = await ready(4096)
    file = Attachment("a.txt", "x")
    connection.client.counts = {"word": 7, "held": 100, "more": 30, content_of("", [file]): 500}
    await conversation.enqueue("held")
    conversation.hold()
    await conversation.enqueue("more", [file])
    assert await made.look(conversation, Outgoing("word")) == Spent(7, 4096 - 1020 - 530, (), is_estimate=False)


async def test_a_history_is_counted_once_while_a_draft_is_typed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    conversation = await conversation_with_answer(store, None)
    made, connection = await ready(4096)
    counted: list[object] = []

    async def count(said: object) -> int:
        counted.append(said)
        return 5

    monkeypatch.setattr(connection.client, "count_tokens", count)
    for draft in ("a", "b"):
        assert await made.look(conversation, Outgoing(draft)) == Spent(5, 4096 - 5, (), is_estimate=False)
    assert [said for said in counted if isinstance(said, list)] == [history(conversation.path)]
    await conversation.ask("And of China?")
    await made.look(conversation, Outgoing("c"))
    assert counted[-1] == history(conversation.path)


async def test_what_an_answer_was_made_from_counts_for_its_model_only(store: Store) -> None:
    usage = Usage(prompt_tokens=1000, completion_tokens=20)
    made, connection = await ready(4096)
    connection.client.counts = {"word": 7}
    same = await conversation_with_answer(store, usage, "fake")
    assert await made.look(same, Outgoing("word")) == Spent(7, 4096 - 1020, (), is_estimate=False)
    other = await made.look(await conversation_with_answer(store, usage, "another"), Outgoing("word"))
    assert other.is_estimate
    assert other.left is not None
    assert 4096 - 100 < other.left < 4096


async def test_after_another_system_prompt_all_is_counted_anew_also_after_a_restart(store: Store) -> None:
    conversation = await conversation_with_answer(store, Usage(prompt_tokens=1000, completion_tokens=20))
    made, connection = await ready(4096)
    connection.client.counts = {"word": 7}
    await conversation.set_system("You are a pirate. " * 100)
    assert conversation.chat is not None
    for one in (conversation, await Conversation.open(store, conversation.chat.id)):
        spent = await made.look(one, Outgoing("word"))
        assert spent.is_estimate
        assert spent.left is not None
        assert 4096 - 1000 < spent.left < 4096 - 300


async def test_without_figures_the_history_is_estimated(store: Store) -> None:
    conversation = await conversation_with_answer(store, None)
    made, connection = await ready(4096)
    connection.client.counts = {"word": 7}
    spent = await made.look(conversation, Outgoing("word"))
    assert (spent.draft, spent.is_estimate) == (7, True)
    assert spent.left is not None
    assert 4096 - 100 < spent.left < 4096


async def test_each_attachment_has_its_tokens(store: Store) -> None:
    files = (Attachment("a.txt", "x" * 700), Attachment("b.txt", "y" * 70))
    spent = await budget().look(Conversation(store), Outgoing("", files))
    long, short = spent.attachments
    assert long is not None
    assert short is not None
    assert long > 200 > short
    assert spent.draft == long + short


async def test_an_empty_draft_in_an_empty_conversation_takes_nothing(store: Store) -> None:
    assert await budget().look(Conversation(store), Outgoing("")) == Spent(None, None, (), is_estimate=False)


async def test_an_attachment_is_counted_once_and_typing_pushes_none_out(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[tuple[str, bool]] = []

    def build(text: str, attachments: Sequence[Attachment]) -> str:
        built.append((attachments[0].name, threading.current_thread() is threading.main_thread()))
        return content_of(text, attachments)

    monkeypatch.setattr("tui.budget.content_of", build)
    budget_, conversation = budget(), Conversation(store)
    files = (Attachment("a.txt", "x" * 700),)
    first = await budget_.look(conversation, Outgoing("", files))
    for number in range(MOST_COUNTED + 1):
        again = await budget_.look(conversation, Outgoing(f"draft {number}", files))
    assert again.attachments == first.attachments
    assert built == [("a.txt", False)]


async def test_the_estimate_of_an_attachment_gives_way_to_the_models_count(store: Store) -> None:
    connection = FakeConnection(ready=False)
    backend = Backend(connection)
    file = Attachment("a.txt", "x" * 700)
    connection.client.counts[content_of("", [file])] = 7
    here, conversation = Budget(backend), Conversation(store)
    assert (await here.look(conversation, Outgoing("", (file,)))).attachments != (7,)
    backend.loaded(connection.client, Ready("fake", 4096))
    assert (await here.look(conversation, Outgoing("", (file,)))).attachments == (7,)
