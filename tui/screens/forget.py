"""Before a conversation goes that is kept nowhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.screens.form import key_of


@dataclass(frozen=True, slots=True)
class Loss:
    """What would be gone: a heading, a sentence, and what Enter does."""

    title: str
    sentence: str
    enter: str


LEAVES = Loss(
    "This conversation is kept nowhere", "It is gone for good when you leave it; /export keeps it.", "Enter leaves it"
)
QUITS = Loss("This conversation is kept nowhere", "It is gone for good when you quit; /export keeps it.", "Enter quits")
QUITS_ALL = Loss(
    "These conversations are kept nowhere",
    "All of them are gone for good when you quit; /export keeps one.",
    "Enter quits",
)


class ForgetScreen(ModalScreen[bool]):
    """Dismissed with whether what is kept nowhere may go."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "dismiss(True)", "Leave it", show=False),
        Binding("escape", "dismiss(False)", "Stay", id="dialog.cancel", show=False),
    ]

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self._loss = loss

    def compose(self) -> ComposeResult:
        """A sentence and what the keys do."""
        with Vertical(classes="dialog"):
            yield Static(self._loss.title, classes="dialog-title", markup=False)
            yield Static(self._loss.sentence, markup=False)
            keys = f"{self._loss.enter}, {key_of(self, 'dialog.cancel')} stays"
            yield Static(keys, classes="dialog-hint", markup=False)
