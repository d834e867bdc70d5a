"""Changing a message that was said: its new text becomes a branch beside the old one."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static, TextArea

from tui.sanitize import SafeText
from tui.screens.form import Form
from tui.widgets.fields import TextField


class EditScreen(Form[str]):
    """A text in a box; Ctrl+S takes it, Esc leaves everything as it was."""

    BINDINGS: ClassVar[list[BindingType]] = [
        # Not Enter, which breaks lines here; Ctrl+Enter is unknown to many terminals.
        Binding("ctrl+s,ctrl+enter", "accept", "Accept", id="dialog.accept", show=False, priority=True),
    ]

    def __init__(self, title: SafeText, text: SafeText, hint: SafeText) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._hint = hint

    def compose(self) -> ComposeResult:
        """A title, the text, what the keys do."""
        with Vertical(classes="dialog wide"):
            yield Static(self._title, classes="dialog-title", markup=False)
            yield TextField(self._text, id="edit", soft_wrap=True, show_line_numbers=False, compact=True)
            yield Static(self._hint, id="edit-hint", classes="dialog-hint", markup=False)

    def on_mount(self) -> None:
        """At the end of the text."""
        area = self.query_one(TextArea)
        area.move_cursor(area.document.end)

    def action_accept(self) -> None:
        """Give the new text."""
        self.dismiss(self.query_one(TextArea).text)

    def state(self) -> tuple[object, ...]:
        """See :class:`Form`."""
        return (self.query_one(TextArea).text,)

    def say(self, sentence: SafeText) -> None:
        """See :class:`Form`."""
        self.query_one("#edit-hint", Static).update(sentence)
