"""Turns under way: a question, and its answer to the end. They go on while another conversation is shown."""

from __future__ import annotations

from collections.abc import Callable

from localqwen.chats.session import Conversation
from localqwen.params import SamplingParams
from tui.backend import Backend, Failed


class Turns:
    """The conversations of this process that are being answered."""

    def __init__(self, backend: Backend, params: SamplingParams, restart: Callable[[], None]) -> None:
        """``restart`` begins a new life of the backend, whose last one has failed."""
        self._backend = backend
        self._params = params
        self._restart = restart
        self._under_way: list[Conversation] = []

    def begin(self, conversation: Conversation) -> bool:
        """Reserve a conversation for a turn; ``False`` while it has one."""
        if self.is_under_way(conversation):
            return False
        self._under_way.append(conversation)
        return True

    def is_under_way(self, conversation: Conversation) -> bool:
        """Whether a conversation is being asked or answered."""
        return conversation in self._under_way

    def find(self, chat_id: int) -> Conversation | None:
        """The conversation under way that is stored as ``chat_id``."""
        return next((one for one in self._under_way if one.chat is not None and one.chat.id == chat_id), None)

    def stop_all(self) -> None:
        """End all answers here; each keeps its text."""
        for conversation in list(self._under_way):
            conversation.stop()

    async def take(
        self,
        conversation: Conversation,
        text: str,
        asked: Callable[[Conversation], None],
        changed: Callable[[Conversation], None],
    ) -> None:
        """Take the turn that was begun: commit the question, then let the model answer.

        Args:
            conversation: Where.
            text: What was typed.
            asked: Called once the question is kept.
            changed: Called whenever the answer has changed, and at the end.

        Raises:
            ChatStoreError: The question or the end of the answer could not be kept.
        """
        try:
            await conversation.ask(text)
            asked(conversation)
            if isinstance(self._backend.state, Failed):
                self._restart()
            await conversation.respond(
                lambda history: self._backend.stream(history, self._params),
                self._params,
                lambda: self._backend.model,
                lambda: changed(conversation),
            )
        finally:
            self._under_way.remove(conversation)
            changed(conversation)
