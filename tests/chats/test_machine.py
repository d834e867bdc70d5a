"""Any order of what a person can do: memory is as the disk, nothing that was said is ever gone, and search is true."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from localqwen.chats.attachment import Attachment
from localqwen.chats.session import Conversation
from localqwen.chats.store import Store
from localqwen.chats.tree import Message
from localqwen.events import Delta, Finished, Usage
from localqwen.params import SamplingParams
from tests.chats.fakes import scripted
from tests.chats.test_migrations import check_index

T = TypeVar("T")

words = st.text(st.sampled_from("ab \n\0東`#é"), max_size=6)
files = st.lists(st.builds(Attachment, words, words), max_size=2)
ends = st.sampled_from(["stop", "length", "cancelled", "error"])
picks = st.integers(0, 10**6)


class ConversationMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.store = Store.temporary()
        self.conversation = Conversation(self.store)
        self.said: dict[int, str] = {}
        self.is_rewound = False

    def teardown(self) -> None:
        self.store.close()
        self.runner.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def pick(self, number: int, role: str) -> Message | None:
        messages = [message for message in self.conversation.tree if message.role == role]
        return messages[number % len(messages)] if messages else None

    def remember(self, message: Message) -> None:
        self.said[message.id] = message.text
        self.is_rewound = False
        assert self.conversation.tip == message.id

    @rule(text=words, attachments=files)
    def ask(self, text: str, attachments: list[Attachment]) -> None:
        message = self.run(self.conversation.ask(text, attachments))
        assert message.attachments == tuple(attachments)
        self.remember(message)

    @precondition(lambda self: self.conversation.path and self.conversation.path[-1].role == "user")
    @rule(pieces=st.lists(words, max_size=3), reason=ends)
    def respond(self, pieces: list[str], reason: Any) -> None:
        stream = scripted([*map(Delta, pieces), Finished(reason, Usage(1, len(pieces)), "why")])
        answer = self.run(self.conversation.respond(stream, SamplingParams(), lambda: "m", lambda: None))
        assert answer.text == "".join(pieces)
        self.remember(answer)

    @precondition(lambda self: self.conversation.can_resume)
    @rule(pieces=st.lists(words, max_size=3), reason=ends)
    def resume(self, pieces: list[str], reason: Any) -> None:
        before = self.conversation.path[-1]
        stream = scripted([*map(Delta, pieces), Finished(reason, Usage(1, len(pieces)), "why")])
        answer = self.run(self.conversation.resume(stream, SamplingParams(), lambda: "m", lambda: None))
        assert (answer.id, answer.text) == (before.id, before.text + "".join(pieces))
        self.remember(answer)

    @rule(number=picks)
    def rewind(self, number: int) -> None:
        if (answer := self.pick(number, "assistant")) is not None:
            self.conversation.rewind(answer.id)
            self.is_rewound = True

    @rule(number=picks, text=words, attachments=files)
    def edit(self, number: int, text: str, attachments: list[Attachment]) -> None:
        if (message := self.pick(number, "user")) is not None:
            self.remember(self.run(self.conversation.edit(message.id, text, attachments)))
            assert message in self.conversation.tree.siblings(self.conversation.path[-1].id)

    @rule(number=picks, text=words)
    def edit_answer(self, number: int, text: str) -> None:
        if (message := self.pick(number, "assistant")) is not None:
            self.remember(self.run(self.conversation.edit_answer(message.id, text)))

    @rule(number=picks, role=st.sampled_from(["user", "assistant"]))
    def switch(self, number: int, role: str) -> None:
        if (message := self.pick(number, role)) is not None:
            self.run(self.conversation.switch(message.id))
            self.is_rewound = False
            assert message in self.conversation.path

    @rule(text=words, attachments=files | st.none())
    def draft(self, text: str, attachments: list[Attachment] | None) -> None:
        self.run(self.conversation.save_draft(text, attachments))

    @rule(text=words, attachments=files)
    def enqueue(self, text: str, attachments: list[Attachment]) -> None:
        self.run(self.conversation.enqueue(text, attachments))

    @rule()
    def take_next(self) -> None:
        waiting, draft = self.conversation.queue, self.conversation.draft
        message = self.run(self.conversation.take_next())
        assert (message is None) == (not waiting)
        assert self.conversation.draft == draft
        if message is not None:
            assert (message.text, message.attachments) == (waiting[0].text, waiting[0].attachments)
            self.remember(message)

    @rule(number=picks)
    def remove(self, number: int) -> None:
        if waiting := self.conversation.queue:
            queued = waiting[number % len(waiting)]
            assert self.run(self.conversation.remove(queued.id)) == queued

    @rule(system=words, seed=st.none() | st.integers(0, 9))
    def configure(self, system: str, seed: int | None) -> None:
        self.run(self.conversation.set_system(system))
        self.run(self.conversation.set_params(SamplingParams(seed=seed)))
        assert (self.conversation.system, self.conversation.params.seed) == (system, seed)

    @invariant()
    def memory_is_as_the_disk(self) -> None:
        here = self.conversation
        if here.chat is None:
            assert self.store.chats() == []
            return
        there = self.run(Conversation.open(self.store, here.chat.id))
        assert list(here.tree) == list(there.tree)
        assert self.is_rewound or here.path == there.path
        assert (here.draft, here.draft_attachments, here.queue) == (there.draft, there.draft_attachments, there.queue)
        assert (here.system, here.params) == (there.system, there.params)
        assert there.chat is not None
        # A new conversation's title is known here after the first message at the latest.
        assert replace(here.chat, draft="", draft_attachments=(), is_drafted=False, updated=0.0, tip=None) == replace(
            there.chat, draft="", draft_attachments=(), is_drafted=False, updated=0.0, tip=None
        )

    @invariant()
    def nothing_that_was_said_is_gone(self) -> None:
        assert {message.id: message.text for message in self.conversation.tree} == self.said

    @invariant()
    def the_search_index_is_true(self) -> None:
        check_index(self.store)


ConversationMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestConversation = ConversationMachine.TestCase
