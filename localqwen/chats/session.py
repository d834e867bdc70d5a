"""One open conversation: asking, and the life of the answer, from its first event to its last commit.

The order is the promise. A person's message is committed before the model hears of it; the growing answer is committed
several times a second, by a task of its own, so that a model that falls silent cannot keep text from the disk; and
whatever ends the answer (its end, Esc, an error, the program) ends with one more commit.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TypeAlias

from localqwen.chats.answer import Answer, advance, end
from localqwen.chats.store import ChatStoreError, Store
from localqwen.chats.tree import Chat, Message, Tree, history
from localqwen.errors import LocalqwenError
from localqwen.events import AnswerEvent
from localqwen.params import ChatMessage, SamplingParams

# At most this much text is lost to a kill; below the promised 250 ms, which leaves room for the commit itself.
SAVE_SECONDS = 0.2

AnswerStream: TypeAlias = Callable[[list[ChatMessage]], AsyncGenerator[AnswerEvent, None]]


class Conversation:
    """A conversation that is open in this process. ``chat`` is ``None`` until there is something to keep."""

    def __init__(self, store: Store, chat: Chat | None = None, tree: Tree | None = None) -> None:
        self._store = store
        # A draft that is emptied removes its conversation; that must not happen to one that is being asked in.
        self._writing = asyncio.Lock()
        self._listening: asyncio.Task[None] | None = None
        self._stopping = False
        self.chat = chat
        self.tree = tree if tree is not None else Tree()
        self.tip = chat.tip if chat is not None else None
        self.draft = chat.draft if chat is not None else ""
        self.answer: Answer | None = None

    @classmethod
    async def open(cls, store: Store, chat_id: int) -> Conversation:
        """Read a conversation from the store."""
        chat = await asyncio.to_thread(store.chat, chat_id)
        return cls(store, chat, await asyncio.to_thread(store.tree, chat_id))

    @property
    def is_answering(self) -> bool:
        """Whether an answer is on its way."""
        return self.answer is not None and not self.answer.is_over

    @property
    def path(self) -> list[Message]:
        """The messages to show, first to last."""
        return self.tree.path(self.tip)

    async def ask(self, text: str) -> Message:
        """Commit a person's message at the end of the path."""
        async with self._writing:
            chat = await self._ensure_chat()
            message = await asyncio.to_thread(self._store.ask, chat.id, self.tip, text)
            self.draft = ""
            self.chat = await asyncio.to_thread(self._store.chat, chat.id)
            self._show(message)
            return message

    async def respond(
        self, stream: AnswerStream, params: SamplingParams, model: Callable[[], str | None], notify: Callable[[], None]
    ) -> Message:
        """Let ``stream`` answer the path, and keep what it says.

        Args:
            stream: Given the history, yields the answer's events.
            params: How to sample; kept with the message.
            model: Who answered, asked at the end, for a server may not know before.
            notify: Called after each change of :attr:`answer`, often; it must be quick.

        Returns:
            The message as it was kept. Errors of the model are in it and are not raised.
        """
        if self.is_answering:
            raise RuntimeError("this conversation is being answered already")
        if self.chat is None or self.tip is None:
            raise RuntimeError("ask first")
        told = history(self.path)
        message = await asyncio.to_thread(self._store.begin_answer, self.chat.id, self.tip, params)
        self._show(message)
        self.answer = Answer(message)
        self._stopping = False
        notify()
        try:
            await self._follow(stream, told, notify)
        finally:
            # Reached with the answer still open only when this task is cancelled or a bug raised: no await here, for
            # a second cancellation must not come between the text and the disk.
            if not self.answer.is_over:
                self._store.finish_answer(self._closed(end(self.answer, "stopped"), model()))
        closed = self._closed(self.answer, model())
        try:
            await asyncio.to_thread(self._store.finish_answer, closed)
        except asyncio.CancelledError:
            self._store.finish_answer(closed)
            raise
        finally:
            notify()
        return closed

    def stop(self) -> None:
        """End the answer here and keep its text; nothing happens when there is none."""
        if self._listening is not None:
            self._stopping = True
            self._listening.cancel()

    async def save_draft(self, text: str) -> None:
        """Keep what is typed; an empty conversation exists only as long as it has a draft."""
        async with self._writing:
            if text == self.draft:
                return
            chat = await self._ensure_chat()
            await asyncio.to_thread(self._store.save_draft, chat.id, text)
            self.draft = text
            if not text and self.tip is None and await asyncio.to_thread(self._store.discard_if_empty, chat.id):
                self.chat = None

    # -- inside ----------------------------------------------------------------------------------------------------

    async def _ensure_chat(self) -> Chat:
        if self.chat is None:
            self.chat = await asyncio.to_thread(self._store.create_chat)
        return self.chat

    async def _follow(self, stream: AnswerStream, told: list[ChatMessage], notify: Callable[[], None]) -> None:
        async with asyncio.TaskGroup() as group:
            saving = group.create_task(self._save_as_it_grows())
            self._listening = group.create_task(self._listen(stream, told, notify))
            try:
                await asyncio.wait([self._listening])
            finally:
                saving.cancel()
                self._listening.cancel()
        stopped = self._listening.cancelled()
        self._listening = None
        assert self.answer is not None
        if not self.answer.is_over:
            if stopped or self._stopping:
                self.answer = end(self.answer, "stopped")
            else:
                self.answer = end(self.answer, "error", "The server ended the answer without a reason: ask again.")

    async def _listen(self, stream: AnswerStream, told: list[ChatMessage], notify: Callable[[], None]) -> None:
        assert self.answer is not None
        try:
            events = stream(told)
            # Closed here and now, not by the garbage collector: closing is what stops the job on the server.
            async with aclosing(events):
                async for event in events:
                    self.answer = advance(self.answer, event, time.monotonic())
                    notify()
                    if self.answer.is_over:
                        return
        except LocalqwenError as error:
            self.answer = end(self.answer, "error", str(error))

    async def _save_as_it_grows(self) -> None:
        saved = ""
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            message = self.answer.message if self.answer is not None else None
            if message is not None and message.text != saved:
                try:
                    await asyncio.to_thread(self._store.save_answer, message.id, message.text)
                    saved = message.text
                except ChatStoreError:
                    # A full disk must not end the answer; the commit at the end tries again and says so.
                    continue

    def _closed(self, answer: Answer, model: str | None) -> Message:
        message = replace(answer.message, model=model)
        self.answer = replace(answer, message=message)
        self.tree.put(message)
        return message

    def _show(self, message: Message) -> None:
        self.tree.put(message)
        self.tip = message.id
