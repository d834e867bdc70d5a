"""What is seen of the open conversation: its transcript as it grows, the title, the status line, what keys do."""

from __future__ import annotations

import time
from functools import cached_property

from textual.screen import Screen
from textual.widgets import Static

from localqwen.chats.answer import Answer
from localqwen.chats.session import Conversation
from tui.backend import Backend
from tui.later import Later
from tui.presenter import Shown, shown
from tui.sanitize import SafeText, safe_line
from tui.turns import Turns
from tui.widgets.composer import Composer
from tui.widgets.find_bar import FindBar
from tui.widgets.sidebar import Sidebar
from tui.widgets.status import StatusLine
from tui.widgets.transcript.view import Transcript

FRAME_SECONDS = 1 / 30
# Textual paints all that lies between two changes: with the bottom line in each frame that is half of the screen, for
# figures that nobody reads thirty times a second.
STATUS_SECONDS = 0.5


class Display:
    """Keeps the widgets true to the open conversation."""

    def __init__(self, screen: Screen[None], backend: Backend, turns: Turns, conversation: Conversation) -> None:
        self.screen = screen
        self.backend = backend
        self.turns = turns
        self.conversation = conversation
        self._shown = Shown()
        self._frame = Later(screen, self.paint)
        self._status_at = 0.0
        self._title = SafeText("")

    # -- the widgets -----------------------------------------------------------------------------------------------

    # Asked for at each delta, and a query walks over all widgets: hence once.

    @cached_property
    def transcript(self) -> Transcript:
        """Where the conversation is read."""
        return self.screen.query_one(Transcript)

    @cached_property
    def composer(self) -> Composer:
        """Where the next message is written."""
        return self.screen.query_one(Composer)

    @cached_property
    def sidebar(self) -> Sidebar:
        """The list of conversations."""
        return self.screen.query_one(Sidebar)

    @cached_property
    def _status(self) -> StatusLine:
        return self.screen.query_one(StatusLine)

    @property
    def is_alive(self) -> bool:
        """Whether there is a screen: workers outlive the widgets when the app ends in another way than Ctrl+Q."""
        return self.screen.is_running and self.transcript.is_attached

    @property
    def is_temporary(self) -> bool:
        """Whether nothing of the open conversation is kept."""
        return self.conversation.store.is_temporary

    @property
    def last_answer(self) -> Answer | None:
        """The answer on its way, or the last one of the path."""
        if self.conversation.answer is not None:
            return self.conversation.answer
        answers = [message for message in self.conversation.path if message.role == "assistant"]
        return Answer(answers[-1]) if answers else None

    # -- messages --------------------------------------------------------------------------------------------------

    def show_path(self) -> None:
        """Show the open conversation's messages anew: it is another one, or another branch."""
        self._shown = shown(self.conversation, self.backend, self.key, temporary=self.is_temporary)
        self.transcript.show(self._shown.entries)
        self.screen.query_one(FindBar).again()
        self.refresh()

    def show_question(self) -> None:
        """Show that the path has changed, most likely by a question at its end."""
        if not self._shown.extend(self.conversation, self.transcript):
            self.show_path()
        self.refresh()

    def show_queue(self) -> None:
        """Show what waits to be sent."""
        self._shown.show_queue(self.conversation, self.transcript)
        self.refresh()

    def show_answer(self) -> None:
        """Show, soon, the answer as it is."""
        if not self._shown.show_answer(self.conversation, self.backend, self.transcript):
            self.show_path()  # an answer that had ended goes on
        self.ask_for_frame()

    # -- frames ----------------------------------------------------------------------------------------------------

    def ask_for_frame(self) -> None:
        """Paint at the next frame."""
        if not self._frame.is_set and self.is_alive:
            self._frame.set(FRAME_SECONDS)

    def paint(self) -> None:
        """Show the answer as it is now."""
        self._frame.cancel()
        if not self.is_alive:
            return
        conversation = self.conversation
        self._shown.update(conversation, self.backend, self.transcript, self.turns.watch(conversation))
        now = time.monotonic()
        if not conversation.is_answering or now - self._status_at >= STATUS_SECONDS:
            self._status_at = now
            self.refresh()

    def key(self, name: str) -> SafeText:
        """The key of a name, as a person reads it."""
        raise NotImplementedError

    def show_keys(self) -> None:
        """Name the keys wherever one is named: they have changed."""
        if self.conversation.path:
            self.refresh()
        else:
            self.show_path()

    def refresh(self) -> None:
        """The title, the status line, what Enter and Esc do."""
        conversation, backend = self.conversation, self.backend
        title = safe_line(conversation.chat.title if conversation.chat is not None else "")
        if not title:
            title = SafeText("Temporary: nothing is kept" if self.is_temporary else "New conversation")
        if title != self._title:
            self._title = title
            self.screen.query_one("#title", Static).update(title)
        self._status.show(
            self.turns.model(conversation),
            backend.state,
            self.last_answer,
            watch=self.turns.watch(conversation),
            loading=backend.loading,
            memory=backend.memory,
        )
        composer = self.composer
        send = self.key("composer.send")
        under_way = self.turns.is_under_way(conversation)
        hint = f"{self.key('answer.stop')} stops, {send} queues" if under_way else f"{send} sends"
        if waiting := len(conversation.queue):
            held = waiting - len(conversation.due)
            some = "" if held == waiting else f", {held} of them"
            hint += f" · {waiting} queued" + (f"{some} until /send-queue" if held else "")
        if composer.border_subtitle != hint:
            composer.border_subtitle = hint
