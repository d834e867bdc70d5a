"""The list of conversations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Label, OptionList
from textual.widgets.option_list import Option

from localqwen.chats.tree import Chat
from tui.sanitize import SafeText, safe, safe_line

# Below so many cells there is room for the list or for the conversation.
NARROW = 90
TITLE = "Conversations"
MORE_ID = "more"


class Sidebar(Vertical):
    """Conversations, pinned ones first, then the last used; Enter or a click opens one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "ask('chat.rename')", "Rename", id="list.rename", show=False),
        Binding("p", "ask('chat.pin')", "Pin", id="list.pin", show=False),
        # Not one key for good: what is deleted comes back with /undo, for thirty days.
        Binding("delete", "ask('chat.delete')", "Delete", id="list.delete", show=False),
        Binding("u", "ask('chat.undo')", "Undo", id="list.undo", show=False),
    ]

    DEFAULT_CSS = """
    Sidebar {
        width: 32;
        height: 1fr;
    }
    """

    @dataclass
    class Chosen(Message):
        """A conversation was chosen."""

        chat_id: int

    class MoreWanted(Message):
        """The conversations of the list are not all, and the next ones are wanted."""

    @dataclass
    class Asked(Message):
        """A command was given for the marked conversation."""

        command: str
        chat_id: int | None

    def __init__(self, key: Callable[[str], str], *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        """``key`` says how the key of a name is called."""
        super().__init__(id=id)
        self._key = key
        self._shown: list[tuple[int, SafeText]] = []
        self._are_more = False

    def compose(self) -> ComposeResult:
        """A heading over the list."""
        yield Label(TITLE, id="sidebar-title", markup=False)
        yield OptionList(id="conversations", markup=False)

    def on_descendant_focus(self) -> None:
        """Say what the keys do: here, and nowhere else."""
        rename, pin, delete, undo = (
            key.lower() if len(key) == 1 else key
            for key in (self._key(f"list.{name}") for name in ("rename", "pin", "delete", "undo"))
        )
        hint = safe(f"Enter opens, {rename} names, {pin} pins\n{delete} deletes, {undo} undoes")
        self.query_one("#sidebar-title", Label).update(hint)
        if self.options.highlighted is None and self.options.option_count:
            self.options.highlighted = 0

    def on_descendant_blur(self) -> None:
        """The keys are elsewhere, and in a narrow terminal the room is theirs."""
        self.query_one("#sidebar-title", Label).update(TITLE)
        if self.screen.size.width < NARROW:
            self.is_shown = False

    @property
    def is_shown(self) -> bool:
        """Whether it takes a part of the screen."""
        return not self.has_class("-hidden")

    @is_shown.setter
    def is_shown(self, value: bool) -> None:
        self.set_class(not value, "-hidden")
        # Notes lie at its end then, where they cover nothing that is read.
        self.screen.set_class(value, "-with-list")

    @property
    def options(self) -> OptionList:
        """The list itself."""
        return self.query_one("#conversations", OptionList)

    def show(self, chats: Sequence[Chat], current: int | None, *, are_more: bool = False) -> None:
        """List these conversations and mark the open one; who goes through the list stays where they are.

        With ``are_more`` a last row offers those that are not listed.
        """
        rows: list[tuple[int, SafeText]] = [(chat.id, _label(chat)) for chat in chats]
        options = self.options
        at = options.highlighted if options.has_focus else None
        marked = current
        if at is not None and self._shown:
            # On the last row the next of those that were wanted.
            marked = self._shown[at][0] if at < len(self._shown) else None
        if (rows, are_more) != (self._shown, self._are_more):
            self._shown, self._are_more = rows, are_more
            options.clear_options()
            options.add_options([Option(Content(label), id=str(chat_id)) for chat_id, label in rows])
            if are_more:
                options.add_option(
                    Option(Content(safe_line(f"… more ({self._key('chat.search')} finds them all)")), id=MORE_ID)
                )
        ids = [chat_id for chat_id, _ in rows]
        if marked in ids:
            options.highlighted = ids.index(marked)
        else:
            options.highlighted = min(at or 0, len(ids) - 1) if options.has_focus and ids else None

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Pass the choice on, as a conversation."""
        event.stop()
        if event.option_id == MORE_ID:
            self.post_message(self.MoreWanted())
        elif event.option_id is not None:
            self.post_message(self.Chosen(int(event.option_id)))

    def action_ask(self, command: str) -> None:
        """Pass a command on, with the marked conversation."""
        at = self.options.highlighted
        if at is None or at < len(self._shown):
            self.post_message(self.Asked(command, self._shown[at][0] if at is not None else None))


def _label(chat: Chat) -> SafeText:
    pin = "▪ " if chat.pinned else ""
    if chat.tip is None:
        return safe_line(f"{pin}✎ {safe_line(chat.draft[:200]) or 'Draft'}")
    drafted = "✎ " if chat.is_drafted else ""
    return safe_line(f"{pin}{drafted}{safe_line(chat.title) or 'Untitled'}")
