"""The life of one answer: from the stream's first event to the last commit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TypeAlias

from localqwen.chats.answer import Answer, advance, end
from localqwen.chats.store import ChatStoreError, Store
from localqwen.chats.tree import Message
from localqwen.errors import LocalqwenError
from localqwen.events import AnswerEvent
from localqwen.params import ChatMessage

# At most this much text is lost to a kill; below the promised 250 ms, which leaves room for the commit itself.
SAVE_SECONDS = 0.2

# Given the history, yields the answer's events. A history that ends with an assistant's message asks for more of that
# message and not for a new one (`tree.is_continuation`): only the new text is to be yielded then.
AnswerStream: TypeAlias = Callable[[list[ChatMessage]], AsyncGenerator[AnswerEvent, None]]


class Answering:
    """An answer that is written in this process. ``answer`` is how far it is."""

    def __init__(self, store: Store, answer: Answer, keep: Callable[[Message], None]) -> None:
        """``keep`` is told the message as it has ended."""
        self.answer = answer
        self._store = store
        self._keep = keep
        self._listening: asyncio.Task[None] | None = None
        self._stopping = False

    async def run(
        self,
        stream: AnswerStream,
        told: list[ChatMessage],
        model: Callable[[], str | None],
        notify: Callable[[], None],
    ) -> Message:
        """Follow ``stream`` to its end; see :meth:`Conversation.respond` for the arguments."""
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
        """End the answer here and keep its text."""
        self._stopping = True
        if self._listening is not None:
            self._listening.cancel()

    async def _follow(self, stream: AnswerStream, told: list[ChatMessage], notify: Callable[[], None]) -> None:
        async with asyncio.TaskGroup() as group:
            saving = group.create_task(self._save_as_it_grows())
            self._listening = group.create_task(self._listen(stream, told, notify))
            if self._stopping:
                self._listening.cancel()
            try:
                await asyncio.wait([self._listening])
            finally:
                saving.cancel()
                self._listening.cancel()
        stopped = self._listening.cancelled()
        self._listening = None
        if not self.answer.is_over:
            if stopped or self._stopping:
                self.answer = end(self.answer, "stopped")
            else:
                self.answer = end(self.answer, "error", "The server ended the answer without a reason: ask again.")

    async def _listen(self, stream: AnswerStream, told: list[ChatMessage], notify: Callable[[], None]) -> None:
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
        saved = self.answer.message.text
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            message = self.answer.message
            if message.text != saved:
                try:
                    await asyncio.to_thread(self._store.save_answer, message.id, message.text)
                    saved = message.text
                except ChatStoreError:
                    # A full disk must not end the answer; the commit at the end tries again and says so.
                    continue

    def _closed(self, answer: Answer, model: str | None) -> Message:
        message = replace(answer.message, model=model)
        self.answer = replace(answer, message=message)
        self._keep(message)
        return message
