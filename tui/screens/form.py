"""What all dialogs have in common in which something can be typed: it is not lost by one key."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen, Screen

from tui.commands import key_label
from tui.sanitize import SafeText, safe_line

Result = TypeVar("Result")


class Form(ModalScreen[Result | None]):
    """Dismissed with ``None`` by Esc; what has been changed is given up at the second Esc only."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", id="dialog.cancel", show=False),
    ]

    _began: tuple[object, ...] = ()
    _first: tuple[object, ...] | None = None
    _warned: tuple[object, ...] | None = None

    def state(self) -> tuple[object, ...]:
        """What is in the fields."""
        raise NotImplementedError

    def say(self, sentence: SafeText) -> None:
        """Show a sentence where the keys are explained."""
        raise NotImplementedError

    def key(self, name: str) -> SafeText:
        """The key of a name, as a person reads it."""
        return key_of(self, name)

    def on_mount(self) -> None:
        """Remember how it began."""
        self.is_kept()
        self._began = self.state()
        self.begin()

    def begin(self) -> None:
        """What comes when all fields are there."""

    def is_kept(self) -> None:
        """What is in the fields now may be left without a question."""
        self._first = self.state()

    @property
    def is_unchanged(self) -> bool:
        """Whether what is in the fields is what they began with."""
        return self.state() == self._began

    def may_leave(self, key: str) -> bool:
        """Whether nothing would be lost, or a person has been told so; ``key`` is what they press."""
        now = self.state()
        if now in (self._first, self._warned):
            return True
        self._warned = now
        self.say(safe_line(f"The text has been changed: {key} again gives the changes up."))
        return False

    def may_quit(self, key: str) -> bool:
        """The same for the end of the app."""
        return self.may_leave(key)

    def action_cancel(self) -> None:
        """Leave."""
        if self.may_leave(self.key("dialog.cancel")):
            self.give_up()

    def give_up(self) -> None:
        """Leave everything as it was."""
        self.dismiss(None)


def key_of(screen: Screen[Any], name: str) -> SafeText:
    """The key that a screen has for a name, as a person reads it."""
    keys = [key for key, active in screen.active_bindings.items() if active.binding.id == name]
    return key_label(keys[0]) if keys else SafeText("")
