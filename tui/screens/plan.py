"""F2: where the model's layers lie on this machine."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from localqwen.events import Planned
from localqwen.plan_picture import picture
from tui.sanitize import safe


class PlanScreen(ModalScreen[None]):
    """The plan's picture over the chat."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Close", id="dialog.cancel", show=False),
        Binding("f2", "dismiss", "Close", id="plan", show=False),
        Binding("enter,q", "dismiss", "Close", id="dialog.close", show=False),
    ]

    def __init__(self, planned: Planned | None, *, remote: bool) -> None:
        """``planned`` is what the server has told so far; a ``remote`` one tells nothing."""
        super().__init__()
        self._planned = planned
        self._remote = remote

    def compose(self) -> ComposeResult:
        """The picture in a box."""
        with VerticalScroll(id="plan", classes="dialog"):
            yield Static("Plan", classes="dialog-title")
            yield Static(safe(self._text()), id="plan-text", markup=False)

    def _text(self) -> str:
        if self._planned is not None:
            return "\n".join(picture(self._planned.plan, dict(self._planned.taken)))
        if self._remote:
            return "The model runs on another machine, which does not tell where its layers lie."
        return "The model is being planned; open this again in a moment."
