"""Textual's fields for dialogs, into which anything may be pasted: what they hold has no controls."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Input, TextArea
from textual.widgets.text_area import Edit, EditResult

from tui.sanitize import safe, safe_cells, without_controls

_BLANKS = str.maketrans("\t\n", "  ")


class LineField(Input):
    """One line; of a paste, what can be shown on one."""

    def replace(self, text: str, start: int, end: int) -> None:
        """All that comes from keys, pastes and the clipboard goes through here."""
        super().replace(one_line(text), start, end)


class TextField(TextArea):
    """Any number of lines. Bidirectional marks stay in the text, which may be sent, and are never shown."""

    def edit(self, edit: Edit) -> EditResult:
        """All that comes from keys, pastes and the clipboard goes through here."""
        edit.text = without_controls(edit.text)
        return super().edit(edit)

    def get_line(self, line_index: int) -> Text:
        """A line to show."""
        return shown_line(self.document.get_line(line_index))


def one_line(text: str) -> str:
    """What a field of one line may hold of a text: all of it that can be shown, every space too."""
    return safe(without_controls(text)).translate(_BLANKS)


def shown_line(line: str) -> Text:
    """A line of a text area's document as it may be shown: tabs are for the text area to expand."""
    return Text("\t".join(safe_cells(part) for part in line.split("\t")), end="", no_wrap=True)
