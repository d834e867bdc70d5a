"""The list of conversations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Label, OptionList
from textual.widgets.option_list import Option

from localqwen.chats.tree import Chat
from tui.sanitize import safe_line


class Sidebar(Vertical):
    """Conversations, last used first; Enter or a click opens one."""

    DEFAULT_CSS = """
    Sidebar {
        width: 30;
        height: 1fr;
    }
    """

    @dataclass
    class Chosen(Message):
        """A conversation was chosen."""

        chat_id: int

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self._shown: list[tuple[int, str]] = []

    def compose(self) -> ComposeResult:
        """A heading over the list."""
        yield Label("Conversations", id="sidebar-title")
        yield OptionList(id="conversations", markup=False)

    def on_descendant_focus(self) -> None:
        """Say what the keys do here."""
        self.query_one("#sidebar-title", Label).update("Enter opens, Esc goes back")
        if self.options.highlighted is None and self.options.option_count:
            self.options.highlighted = 0

    def on_descendant_blur(self) -> None:
        """The keys are elsewhere."""
        self.query_one("#sidebar-title", Label).update("Conversations")

    @property
    def options(self) -> OptionList:
        """The list itself."""
        return self.query_one("#conversations", OptionList)

    def show(self, chats: Sequence[Chat], current: int | None) -> None:
        """List these conversations and mark the open one."""
        rows = [(chat.id, _label(chat)) for chat in chats]
        options = self.options
        if rows != self._shown:
            self._shown = rows
            options.clear_options()
            options.add_options([Option(Content(label), id=str(chat_id)) for chat_id, label in rows])
        ids = [chat_id for chat_id, _ in rows]
        options.highlighted = ids.index(current) if current in ids else None

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Pass the choice on, as a conversation."""
        event.stop()
        if event.option_id is not None:
            self.post_message(self.Chosen(int(event.option_id)))


def _label(chat: Chat) -> str:
    if chat.tip is None:
        return f"✎ {safe_line(chat.draft[:200]) or 'Draft'}"
    return safe_line(chat.title) or "Untitled"
