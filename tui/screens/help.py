"""F1: every command and every key, from the table of commands and those of the places where keys are heard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.commands import GROUPS, Command, key_label
from tui.keymap import OWN_KEYS
from tui.sanitize import SafeText, safe_line

# Cells for the border, the padding and the scroll bar around the list.
FRAME = 10
SMALLEST_COLUMN = 24
COMMANDS_OF: Mapping[str, Sequence[Command]] = {str(title): commands for title, commands in GROUPS.items()}

# What is no key, by the place where it is typed or clicked.
SIGNS: dict[str, tuple[tuple[str, str], ...]] = {
    "Writing": (
        ("/", "a command, by its name; // is a slash that is sent"),
        ("@", "attach a text file, by its path"),
    ),
    "In the conversation": (("mouse", "select text, two clicks a word, three a block; switch versions"),),
}


class HelpScreen(ModalScreen[None]):
    """A list of keys and commands over the chat."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Close", id="dialog.cancel", show=False),
        Binding("f1", "dismiss", "Close", id="help", show=False),
        Binding("enter,q", "dismiss", "Close", id="dialog.close", show=False),
    ]

    def __init__(self, keymap: Mapping[str, str]) -> None:
        """``keymap`` are the keys that the settings file gives to commands, by their ids."""
        super().__init__()
        self._keymap = keymap

    def compose(self) -> ComposeResult:
        """The list in a box."""
        with VerticalScroll(id="help", classes="dialog"):
            yield Static("Commands and keys", classes="dialog-title")
            yield Static(id="help-text")

    def on_resize(self) -> None:
        """Break the lines where this terminal ends."""
        self.query_one("#help-text", Static).update(Content("\n").join(self._lines(self.size.width - FRAME)))

    def _lines(self, room: int) -> list[Content]:
        shown = list(rows(self._keymap))
        width = max(len(name) for name, _, _ in shown if name.startswith("/"))
        key_width = max(len(keys) for name, keys, _ in shown if name.startswith("/"))
        lines = []
        for name, keys, what in shown:
            if not keys and not what:
                lines += [Content(), Content.styled(name, "bold")]
            elif not name:
                lines.append(_line(Content.styled(keys.ljust(width + key_width + 4), "$primary"), what, room))
            else:
                named = Content.assemble((name.ljust(width + 2), "$secondary"), (keys.ljust(key_width + 2), "$primary"))
                lines.append(_line(named, what, room))
        return lines[1:]


def rows(keymap: Mapping[str, str]) -> Iterator[tuple[SafeText, SafeText, SafeText]]:
    """A command or nothing, its keys, and what they do; a name alone is a heading."""
    nothing = SafeText("")
    for title in dict.fromkeys((*GROUPS, *OWN_KEYS)):
        yield safe_line(title), nothing, nothing
        for one in OWN_KEYS.get(title, ()):
            label = safe_line(one.label[:1].lower() + one.label[1:])
            yield nothing, key_label(keymap.get(one.name, one.keys)), label
        for sign, what in SIGNS.get(title, ()):
            yield nothing, safe_line(sign), safe_line(what)
        for command in COMMANDS_OF.get(title, ()):
            name = safe_line(f"/{command.name} {command.argument}".strip()) if command.in_palette else nothing
            yield name, key_label(keymap.get(command.id, command.keys)), safe_line(command.help)


def _line(head: Content, what: SafeText, room: int) -> Content:
    """A head and what it does beside it, or below it where the terminal is narrow."""
    indent = head.cell_length
    if room - indent < SMALLEST_COLUMN:
        below = wrap(what, max(SMALLEST_COLUMN, room - 4), initial_indent="    ", subsequent_indent="    ")
        return head.rstrip() + "\n" + "\n".join(below)
    return head + f"\n{' ' * indent}".join(wrap(what, room - indent))
