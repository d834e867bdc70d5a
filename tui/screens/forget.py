"""Before a conversation goes that is kept nowhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.sanitize import SafeText, safe_line
from tui.screens.form import key_of


@dataclass(frozen=True, slots=True)
class Loss:
    """What would be gone: a heading, a sentence, and what the key does that takes the risk."""

    heading: SafeText
    warning: SafeText
    takes: SafeText


LEAVES = Loss(
    SafeText("This conversation is kept nowhere"),
    SafeText("It is gone for good when you leave it; /export keeps it."),
    SafeText("leaves it"),
)
QUITS = Loss(
    SafeText("This conversation is kept nowhere"),
    SafeText("It is gone for good when you quit; /export keeps it."),
    SafeText("quits"),
)
QUITS_ALL = Loss(
    SafeText("These conversations are kept nowhere"),
    SafeText("All of them are gone for good when you quit; /export keeps one."),
    SafeText("quits"),
)


class ForgetScreen(ModalScreen[bool]):
    """Dismissed with whether what is kept nowhere may go."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "dismiss(True)", "Leave it", id="dialog.take", show=False),
        Binding("escape", "dismiss(False)", "Stay", id="dialog.cancel", show=False),
    ]

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self._loss = loss

    def compose(self) -> ComposeResult:
        """A sentence and what the keys do."""
        with Vertical(classes="dialog"):
            yield Static(safe_line(self._loss.heading), classes="dialog-title", markup=False)
            yield Static(safe_line(self._loss.warning), markup=False)
            take, stay = key_of(self, "dialog.take"), key_of(self, "dialog.cancel")
            keys = safe_line(f"{take} {self._loss.takes}, {stay} stays")
            yield Static(keys, classes="dialog-hint", markup=False)
