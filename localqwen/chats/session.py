"""One open conversation: asking, answering, and going from branch to branch.

The order is the promise. A person's message is committed before the model hears of it; the growing answer is committed
several times a second, by a task of its own, so that a model that falls silent cannot keep text from the disk; and
whatever ends the answer (its end, Esc, an error, the program) ends with one more commit. Nothing is overwritten: asking
again and editing add branches, and a continued answer only grows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from localqwen.chats.answer import Answer
from localqwen.chats.answering import Answering, AnswerStream
from localqwen.chats.attachment import Attachment
from localqwen.chats.commit import committed
from localqwen.chats.open_chat import BusyError, OpenChat
from localqwen.chats.tree import Message, history, resumable
from localqwen.errors import LocalqwenError
from localqwen.params import ChatMessage, Role, SamplingParams

__all__ = ["AnswerStream", "BusyError", "Conversation", "MisplacedError"]


class MisplacedError(LocalqwenError):
    """A message is not where something like that can be done with it; an import may be of any shape."""


class Conversation(OpenChat):
    """A conversation that is open in this process, and can be asked in."""

    async def ask(self, text: str, attachments: Sequence[Attachment] = (), *, keep_draft: bool = False) -> Message:
        """Commit a person's message at the end of the path, in place of the draft unless that is another text."""
        async with self._changing():
            chat = await self._ensure_chat()
            message = await committed(self._store.ask, chat.id, self.tip, text, attachments, keep_draft=keep_draft)
            if not keep_draft:
                self._draft_is_gone()
            self._show(message)
            await self._refresh()
            return message

    async def take_next(self, *, due: bool = False) -> Message | None:
        """Commit the first message of the queue at the end of the path; ``None`` when the queue is empty.

        With ``due`` only what is :attr:`due` counts.

        It leaves the queue in the same transaction, so that a kill neither loses nor doubles it. The draft stays. Where
        another window has sent all that waited, what it has added is there afterwards.
        """
        async with self._changing():
            waited = bool(self.queue)
            while waiting := self.due if due else self.queue:
                chat = await self._ensure_chat()
                message = await committed(self._store.ask_queued, chat.id, self.tip, waiting[0])
                self.queue = tuple(one for one in self.queue if one.id != waiting[0].id)
                if message is not None:
                    self._show(message)
                    await self._refresh()
                    return message
            if waited:
                await self._catch_up()
            return None

    async def respond(
        self, stream: AnswerStream, params: SamplingParams, model: Callable[[], str | None], notify: Callable[[], None]
    ) -> Message:
        """Let ``stream`` answer the path, which ends with a person's message, and keep what it says.

        Args:
            stream: Given the history, yields the answer's events.
            params: How to sample; kept with the message.
            model: Who answered, asked at the end, for a server may not know before.
            notify: Called after each change of :attr:`answer`, often; it must be quick.

        Returns:
            The message as it was kept. Errors of the model are in it and are not raised.

        Raises:
            BusyError: This conversation is being answered already.
            MisplacedError: The path ends with no question.
        """
        with self._turn():
            async with self._writing:
                path = self.path
                if self.chat is None or self.tip is None or path[-1].role == "assistant":
                    raise MisplacedError("there is no question to answer here; ask one first")
                message = await committed(self._store.begin_answer, self.chat.id, self.tip, params)
                self._show(message)
            return await self._run(Answer(message), history(path, self.system), stream, model, notify)

    async def resume(
        self, stream: AnswerStream, params: SamplingParams, model: Callable[[], str | None], notify: Callable[[], None]
    ) -> Message:
        """Let ``stream`` continue the answer at the end of the path, in place; see :meth:`respond`.

        The history then ends with the answer as it is, and the stream yields what comes after. (An answer of which
        there is no text yet is begun: the history ends with the question.) The text so far stays whatever happens, and
        the statistics are those of all parts.
        """
        with self._turn():
            async with self._writing:
                path = self.path
                last = resumable(path)
                if last is None:
                    raise MisplacedError("there is no answer to continue")
                message = await committed(self._store.resume_answer, last.id, params)
                self._show(message)
            # What is on the disk may be more: another window may have continued it before.
            told = history([*path[:-1], message], self.system)
            return await self._run(Answer(message, earlier=message.usage), told, stream, model, notify)

    def stop(self) -> None:
        """End the answer here and keep its text; nothing happens when there is none."""
        self._stop_asked = self._is_turn
        if self.is_answering and self._answering is not None:
            self._answering.stop()

    # -- branches --------------------------------------------------------------------------------------------------

    def rewind(self, message_id: int) -> None:
        """Go back to a question, or to that of an answer, so that :meth:`respond` makes another answer to it.

        It is not committed before the new answer begins: a kill in between leaves the old one where it was.

        Raises:
            BusyError: An answer is being written.
            MisplacedError: The message is an answer to no question.
        """
        self._refuse_while_busy()
        path = self.tree.path(message_id)
        questions = path[:-1] if path[-1].role == "assistant" else path
        if not questions or questions[-1].role == "assistant":
            raise MisplacedError("nothing was asked before this message, so there is nothing to answer again")
        self._go_to(questions[-1].id)

    async def edit(self, message_id: int, text: str, attachments: Sequence[Attachment] = ()) -> Message:
        """Commit another version of a person's message beside it; :meth:`respond` then answers it."""
        return await self._branch(message_id, "user", text, attachments)

    async def edit_answer(self, message_id: int, text: str) -> Message:
        """Commit another version of an answer beside it. Nothing is asked; :meth:`resume` continues from it."""
        return await self._branch(message_id, "assistant", text, ())

    async def switch(self, message_id: int) -> None:
        """Show the path through a message (a sibling, or what a search found), down to its newest leaf.

        Raises:
            MisplacedError: It is no message of this conversation.
        """
        async with self._changing():
            chat = await self._ensure_chat()
            if message_id not in self.tree:
                # Another window may have added it since this one was opened.
                self.tree = await asyncio.to_thread(self._store.tree, chat.id)
            if message_id not in self.tree:
                raise MisplacedError("this message is not in this conversation any more")
            tip = self.tree.newest_leaf(message_id)
            await committed(self._store.set_tip, chat.id, tip)
            self._go_to(tip)
            await self._refresh()

    # -- inside ----------------------------------------------------------------------------------------------------

    async def _catch_up(self) -> None:
        """Read what another window has added, and follow it where it goes on from what is shown."""
        assert self.chat is not None
        self.tree = await asyncio.to_thread(self._store.tree, self.chat.id)
        if self.tip is not None and (tip := self.tree.newest_leaf(self.tip)) != self.tip:
            self._go_to(tip)
        await self._refresh()

    async def _branch(self, message_id: int, role: Role, text: str, attachments: Sequence[Attachment]) -> Message:
        async with self._changing():
            replaced = self.tree[message_id]
            if replaced.role != role:
                raise MisplacedError(f"this message is the {replaced.role}'s and cannot be edited like that")
            message = await committed(self._store.branch, replaced, text, attachments)
            self.tree.put(message)
            self._go_to(message.id)
            await self._refresh()
            return message

    async def _run(
        self,
        answer: Answer,
        told: list[ChatMessage],
        stream: AnswerStream,
        model: Callable[[], str | None],
        notify: Callable[[], None],
    ) -> Message:
        self._answering = Answering(self._store, answer, self.tree.put)
        if self._stop_asked:
            self._answering.stop()
        return await self._answering.run(stream, told, model, notify)
