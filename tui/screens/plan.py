"""F2: where the model's layers lie, and how full the devices are now."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from localqwen.plan_picture import picture
from tui.backend import MEMORY_SECONDS, Backend
from tui.plan_words import memory_words, missing_plan_words
from tui.sanitize import safe

SHOW_SECONDS = 0.5


class PlanScreen(ModalScreen[None]):
    """The plan's picture over the chat, which follows what happens to the model."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Close", id="dialog.cancel", show=False),
        Binding("f2", "dismiss", "Close", id="plan", show=False),
        Binding("enter,q", "dismiss", "Close", id="dialog.close", show=False),
    ]

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self._backend = backend
        self._shown = ""

    def compose(self) -> ComposeResult:
        """The picture in a box."""
        self._shown = self._text()
        with VerticalScroll(id="plan", classes="dialog"):
            yield Static("Plan", classes="dialog-title")
            yield Static(safe(self._shown), id="plan-text", markup=False)

    def on_mount(self) -> None:
        """Look at the devices, also of a model that rests."""
        self.set_interval(SHOW_SECONDS, self._show)
        self._look()

    @work(group="plan")
    async def _look(self) -> None:
        while True:
            await self._backend.look_at_memory()
            self._show()
            await asyncio.sleep(MEMORY_SECONDS)

    def _show(self) -> None:
        text = self._text()
        if text != self._shown:
            self._shown = text
            self.query_one("#plan-text", Static).update(safe(text))

    def _text(self) -> str:
        planned, memory = self._backend.planned, self._backend.memory
        if planned is not None:
            return "\n".join(picture(planned.plan, dict(planned.taken), memory))
        why = missing_plan_words(self._backend.state, self._backend.connection.address)
        return "\n".join([why, *memory_words(memory)])
