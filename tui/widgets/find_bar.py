"""F3: a line under the transcript that finds text in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from tui.sanitize import SafeText
from tui.widgets.fields import LineField


class FindBar(Horizontal):
    """Hidden until it is opened; tells what is looked for, and shows how many there are."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", id="find.close", show=False),
        Binding("enter,down,f3", "step(1)", "Next", id="find.next", show=False, priority=True),
        Binding("shift+enter,up,shift+f3", "step(-1)", "Previous", id="find.previous", show=False, priority=True),
    ]

    DEFAULT_CSS = """
    FindBar {
        height: 1;
        display: none;
        &.-open { display: block; }
        padding: 0 2;
        Input { width: 1fr; }
        Static { width: auto; padding: 0 0 0 2; }
    }
    """

    @dataclass
    class Sought(Message):
        """Another text is looked for; ``""`` when the bar was closed."""

        text: str

    @dataclass
    class Stepped(Message):
        """The next one (1) or the previous one (-1) is wanted."""

        direction: int

    def __init__(self, key: Callable[[str], SafeText], *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        """``key`` says how the key of a name is called."""
        super().__init__(id=id)
        self._key = key

    def compose(self) -> ComposeResult:
        """The field and the count."""
        yield LineField(placeholder="find in this conversation", select_on_focus=True, compact=True)
        yield Static(id="found")
        yield Static(id="found-keys", markup=False)

    @property
    def is_open(self) -> bool:
        """Whether it is shown."""
        return self.has_class("-open")

    def open(self, text: str = "") -> None:
        """Show the field, with a text or with the last one."""
        self.add_class("-open")
        self._tell_keys()
        field = self.query_one(Input)
        if text:
            field.value = text
        field.focus()
        self.post_message(self.Sought(field.value))

    def again(self) -> None:
        """Something else is shown: look for the same in it."""
        if self.is_open:
            self.post_message(self.Sought(self.query_one(Input).value))

    def show(self, current: int, count: int, *, complete: bool = True) -> None:
        """Say which of how many is marked."""
        some = "" if complete else "+"
        none = "none" if self.query_one(Input).value else ""
        found = f"{current} of {count}{some}" if count else none
        self.query_one("#found", Static).update(found)
        self._tell_keys(after_count=bool(found))

    def _tell_keys(self, *, after_count: bool = False) -> None:
        keys = f"{self._key('find.next')} next, {self._key('find.close')} closes"
        self.query_one("#found-keys", Static).update(f"· {keys}" if after_count else keys)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Look for it at once."""
        event.stop()
        if self.is_open:
            self.post_message(self.Sought(event.value))

    def close(self) -> None:
        """Hide, and take the marks away."""
        if self.is_open:
            self.hide()
            self.post_message(self.Sought(""))

    def hide(self) -> None:
        """Be hidden: the search has been ended elsewhere."""
        self.remove_class("-open")

    def action_close(self) -> None:
        """See :meth:`close`."""
        self.close()

    def action_step(self, direction: int) -> None:
        """Go on."""
        self.post_message(self.Stepped(direction))
