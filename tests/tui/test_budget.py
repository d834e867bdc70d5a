from __future__ import annotations

from localqwen.chats.attachment import Attachment
from localqwen.chats.session import Conversation
from localqwen.chats.store import Store
from localqwen.chats.tree import Message
from localqwen.events import Usage
from tests.tui.fakes import FakeConnection
from tui.attachments import Outgoing
from tui.backend import Backend
from tui.budget import Budget, Spent


async def conversation_with_answer(store: Store, usage: Usage | None) -> Conversation:
    conversation = Conversation(store)
    question = await conversation.ask("What is the capital of Japan?")
    answer = store.begin_answer(question.chat_id, question.id, conversation.params)
    kept = Message(answer.id, answer.chat_id, question.id, "assistant", "Tokyo.", "done", answer.created, usage=usage)
    store.finish_answer(kept)
    return await Conversation.open(store, question.chat_id)


def budget() -> Budget:
    return Budget(Backend(FakeConnection()))


async def test_what_an_answer_was_made_from_is_not_counted_again(store: Store) -> None:
    conversation = await conversation_with_answer(store, Usage(prompt_tokens=1000, completion_tokens=20))
    spent = await budget().look(conversation, Outgoing("word " * 70))
    assert spent.draft == 100
    assert spent.is_estimate
    assert spent.left is None, "nobody knows the window before the model is there"


async def test_without_figures_the_history_is_estimated(store: Store) -> None:
    conversation = await conversation_with_answer(store, None)
    spent = await budget().look(conversation, Outgoing("a"))
    assert spent.is_estimate


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
