"""Before a conversation goes that is kept nowhere."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.screens.form import key_of


class ForgetScreen(ModalScreen[bool]):
    """Dismissed with whether the conversation may go."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "dismiss(True)", "Leave it", id="dialog.take", show=False),
        Binding("escape", "dismiss(False)", "Stay", id="dialog.cancel", show=False),
    ]

    def compose(self) -> ComposeResult:
        """A sentence and what the keys do."""
        with Vertical(classes="dialog"):
            yield Static("This conversation is kept nowhere", classes="dialog-title", markup=False)
            yield Static("It is gone for good when you leave it; /export keeps it.", markup=False)
            keys = f"{key_of(self, 'dialog.take')} leaves it, {key_of(self, 'dialog.cancel')} stays"
            yield Static(keys, classes="dialog-hint", markup=False)
