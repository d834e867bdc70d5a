"""The app: themes, the chat screen, and the connection to a model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from localqwen.chats.store import Store
from localqwen.params import SamplingParams
from tui.backend import Backend, Connection
from tui.screens.chat import ChatScreen
from tui.theme import DARK, LIGHT


class ChatApp(App[None]):
    """A chat with one model."""

    TITLE = "localqwen"
    CSS_PATH = "localqwen.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", id="quit", show=False, priority=True),
        Binding("ctrl+t", "toggle_theme", "Light or dark", id="view.theme", show=False),
    ]

    def __init__(self, store: Store, connection: Connection, params: SamplingParams | None = None) -> None:
        super().__init__()
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = DARK.name
        self.backend = Backend(connection)
        self.chat = ChatScreen(store, self.backend, params or SamplingParams())

    def on_mount(self) -> None:
        """Paint first; the model starts in a worker."""
        self.push_screen(self.chat)
        self.backend.on_change = self.chat.backend_changed
        self.call_after_refresh(self.start_backend)

    def start_backend(self) -> None:
        """Begin a life of the connection to the model."""
        self.run_worker(self.backend.run(), group="backend", exclusive=True)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """What the palette (Ctrl+P) offers besides Textual's own."""
        yield from super().get_system_commands(screen)
        chat = self.chat
        yield SystemCommand("New conversation", "Start over with an empty one (Ctrl+N)", chat.action_new)
        yield SystemCommand("Conversations", "Go to the list (Ctrl+L)", chat.action_list)
        yield SystemCommand("Show or hide the list", "The list of conversations (Ctrl+S)", chat.action_sidebar)
        yield SystemCommand("Copy the last answer", "As Markdown (Ctrl+O)", chat.action_copy_answer)
        yield SystemCommand("Plan", "Where the model lies on this machine (F2)", chat.action_plan)
        yield SystemCommand("Stop the answer", "Keep what there is (Esc)", chat.action_stop)

    def action_toggle_theme(self) -> None:
        """Light or dark."""
        self.theme = LIGHT.name if self.current_theme.dark else DARK.name

    async def action_quit(self) -> None:
        """End without a question and without a loss."""
        await self.chat.shut_down()
        self.exit()
