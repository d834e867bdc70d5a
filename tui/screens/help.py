"""F1: what the keys do."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

KEYS: tuple[tuple[str, str], ...] = (
    ("Enter", "send the message"),
    ("Ctrl+J, Shift+Enter, Alt+Enter", "break the line"),
    ("Esc", "stop the answer and keep what there is"),
    ("", ""),
    ("Ctrl+N", "new conversation"),
    ("Ctrl+L", "go to the list of conversations"),
    ("Ctrl+S", "show or hide the list"),
    ("", ""),
    ("PageUp, PageDown, wheel", "scroll the conversation"),
    ("Ctrl+Home, Ctrl+End", "go to its start or its end"),
    ("Ctrl+O", "copy the last answer"),
    ("mouse, Ctrl+C", "select text, copy it"),
    ("", ""),
    ("F2", "where the model lies on this machine"),
    ("Ctrl+T", "light or dark"),
    ("Ctrl+P", "all commands"),
    ("Ctrl+Q", "quit; everything is kept, the draft too"),
)


class HelpScreen(ModalScreen[None]):
    """A list of keys over the chat."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f1,enter,q", "dismiss", "Close", show=False)]

    def compose(self) -> ComposeResult:
        """The list in a box."""
        width = max(len(keys) for keys, _ in KEYS)
        lines = [Content.assemble((keys.rjust(width), "$primary"), "   ", what) for keys, what in KEYS]
        with Vertical(id="help"):
            yield Static("Keys", id="help-title")
            yield Static(Content("\n").join(lines))
