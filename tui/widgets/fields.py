"""Textual's fields for dialogs, into which anything may be pasted: what they hold has no controls."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import Input, TextArea
from textual.widgets.text_area import Edit, EditResult

from tui.sanitize import SafeText, safe, safe_cells, without_controls

_BLANKS = str.maketrans("\t\n", "  ")


class LineField(Input, inherit_bindings=False):
    """One line; of a paste, what can be shown on one. The key that takes it has a name, so that it can be another."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *(one for one in Input.BINDINGS if not isinstance(one, Binding) or one.action != "submit"),
        Binding("enter", "submit", "Take", id="dialog.take", show=False),
    ]

    def replace(self, text: str, start: int, end: int) -> None:
        """All that comes from keys, pastes and the clipboard goes through here."""
        super().replace(one_line(text), start, end)


class TextField(TextArea):
    """Any number of lines. Bidirectional marks stay in the text, which may be sent, and are never shown."""

    def __init__(self, text: str = "", **options: Any) -> None:
        """``text`` is foreign; ``options`` are Textual's."""
        super().__init__(without_controls(text), **options)
        self._given, self._held = text, self.text

    def load_text(self, text: str) -> None:
        """Hold foreign text, less its controls."""
        super().load_text(without_controls(text))
        self._given, self._held = text, self.text

    @property
    def kept(self) -> str:
        """The text; where nothing was changed, what was given, so that to look at a text never changes it."""
        return self._given if self.text == self._held else self.text

    def edit(self, edit: Edit) -> EditResult:
        """All that comes from keys, pastes and the clipboard goes through here."""
        edit.text = without_controls(edit.text)
        return super().edit(edit)

    def get_line(self, line_index: int) -> Text:
        """A line to show."""
        return shown_line(self.document.get_line(line_index))


def one_line(text: str) -> SafeText:
    """What a field of one line may hold of a text: all of it that can be shown, every space too."""
    return safe(without_controls(text).translate(_BLANKS))


def shown_line(line: str) -> Text:
    """A line of a text area's document as it may be shown: tabs are for the text area to expand."""
    return Text("\t".join(safe_cells(part) for part in line.split("\t")), end="", no_wrap=True)
