"""Turns under way: what was asked, its answer to the end, and what was queued behind it.

They go on while another conversation is shown.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias

from localqwen.chats.session import Conversation
from localqwen.chats.store import Store
from localqwen.chats.tree import Message
from localqwen.params import SamplingParams
from tui.asking import Asking
from tui.backend import Backend
from tui.meters import Watch

Told: TypeAlias = Callable[[Conversation], None]
# Commits what the model is to answer; nothing to do where it is there already.
Prepare: TypeAlias = Callable[[], Awaitable[object]]


class Turns:
    """The conversations of this process that are being answered."""

    def __init__(self, backend: Backend, params: Callable[[Conversation], SamplingParams]) -> None:
        """``params`` says how to sample in a conversation, asked at each answer."""
        self._backend = backend
        self._params = params
        self._under_way: list[Conversation] = []
        self._stopped: list[Conversation] = []
        self._askings: dict[int, Asking] = {}

    def begin(self, conversation: Conversation) -> bool:
        """Reserve a conversation for a turn; ``False`` while it has one."""
        if self.is_under_way(conversation):
            return False
        self._under_way.append(conversation)
        return True

    def is_under_way(self, conversation: Conversation) -> bool:
        """Whether a conversation is being asked or answered."""
        return conversation in self._under_way

    def find(self, store: Store, chat_id: int) -> Conversation | None:
        """The conversation under way that is kept in ``store`` as ``chat_id``."""
        return next(
            (one for one in self._under_way if one.store is store and one.chat is not None and one.chat.id == chat_id),
            None,
        )

    def watch(self, conversation: Conversation) -> Watch | None:
        """What the clock says of the answer under way."""
        asking = self._askings.get(id(conversation))
        return asking.watch if asking is not None and self.is_under_way(conversation) else None

    def model(self, conversation: Conversation) -> str:
        """Who answers a conversation."""
        asking = self._askings.get(id(conversation))
        return asking.model if asking is not None and self.is_under_way(conversation) else self._backend.model

    def stop(self, conversation: Conversation) -> None:
        """End an answer here and keep its text; one that has not begun, because its question is still being kept, ends
        as it begins."""
        if self.is_under_way(conversation):
            if conversation not in self._stopped:
                self._stopped.append(conversation)
            conversation.stop()

    def stop_all(self) -> None:
        """End all answers here; each keeps its text."""
        for conversation in list(self._under_way):
            self.stop(conversation)

    async def take(
        self,
        conversation: Conversation,
        prepare: Prepare,
        asked: Told,
        changed: Told,
        how: Literal["respond", "resume"] = "respond",
    ) -> None:
        """Take the turn that was begun, and those that wait behind it.

        Args:
            conversation: Where.
            prepare: Commits the question.
            asked: Called once the path has changed: a question is kept, and its answer will be next.
            changed: Called whenever the answer has changed, and at the end.
            how: Whether a new answer is wanted, or more of the last one.

        Raises:
            LocalqwenError: The question or the end of the answer could not be kept, or there is nothing to answer.
        """
        try:
            await prepare()
            asked(conversation)
            answer = await self._answered(conversation, changed, how)
            while answer.state == "done" and conversation.due and conversation not in self._stopped:
                taken = await conversation.take_next(due=True)
                asked(conversation)
                if taken is None:
                    break  # another window has sent it
                answer = await self._answered(conversation, changed, "respond")
        finally:
            # After a stop or a failure the queue waits for a person, who may want to say something else, and for their
            # word: what they ask meanwhile does not send it along.
            conversation.hold()
            self._under_way.remove(conversation)
            if conversation in self._stopped:
                self._stopped.remove(conversation)
            self._askings.pop(id(conversation), None)
            changed(conversation)

    async def _answered(self, conversation: Conversation, changed: Told, how: Literal["respond", "resume"]) -> Message:
        self._backend.revive()
        asking = self._askings[id(conversation)] = Asking(self._backend)

        def told() -> None:
            # Told first when the answer has begun, before anything is asked.
            if conversation in self._stopped:
                conversation.stop()
            changed(conversation)

        return await answered(asking, conversation, self._params(conversation), how, told)


async def answered(
    asking: Asking,
    conversation: Conversation,
    params: SamplingParams,
    how: Literal["respond", "resume"],
    notify: Callable[[], None],
) -> Message:
    """Have the end of a conversation answered, or its last answer continued; see :meth:`Conversation.respond`."""
    answer = conversation.respond if how == "respond" else conversation.resume
    return await answer(lambda said: asking.stream(said, params), params, lambda: asking.model, notify)
