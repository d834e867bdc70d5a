"""A question that one line answers: a title, a file name."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input, Static

from tui.sanitize import SafeText
from tui.screens.form import Form
from tui.widgets.fields import LineField


class LineScreen(Form[str]):
    """Asks for one line; Esc gives ``None``."""

    def __init__(self, title: SafeText, text: SafeText, hint: SafeText) -> None:
        """``text`` is there to be changed; ``hint`` stands below."""
        super().__init__()
        self._title = title
        self._text = text
        self._hint = hint

    def compose(self) -> ComposeResult:
        """A title, the line, a hint."""
        with Vertical(classes="dialog"):
            yield Static(self._title, classes="dialog-title", markup=False)
            yield LineField(self._text, id="line", select_on_focus=False, compact=True)
            yield Static(self._hint, id="line-hint", classes="dialog-hint", markup=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Done."""
        event.stop()
        self.dismiss(event.value)

    def state(self) -> tuple[object, ...]:
        """See :class:`Form`."""
        return (self.query_one(Input).value,)

    def say(self, sentence: SafeText) -> None:
        """See :class:`Form`."""
        self.query_one("#line-hint", Static).update(sentence)
