"""F1: every command with its key, from the one table of commands."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import wrap
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.commands import GROUPS, key_label
from tui.keymap import DEFAULTS
from tui.sanitize import SafeText, safe_line

# Cells for the border, the padding and the scroll bar around the list.
FRAME = 10
SMALLEST_COLUMN = 24

# What the composer and the transcript do with keys by themselves: a key's name in the settings, or the keys.
WRITING: tuple[tuple[str, str], ...] = (
    ("composer.send", "send the message, or queue it behind the answer"),
    ("composer.newline", "break the line"),
    ("↑ ↓ at the edge of the text", "messages that you sent before"),
    ("/", "a command, by its name below"),
    ("@", "attach a text file"),
    ("composer.editor", "write in $EDITOR"),
    ("Tab", "go to the conversation and back"),
    ("r, p, Delete, u in the list", "rename, pin, delete, undo"),
    ("j k, [ ], { } in the text", "mark a block, code, a message; c copies it"),
    ("mouse, or Shift+arrows there", "select text; Ctrl+C copies it"),
)


class HelpScreen(ModalScreen[None]):
    """A list of keys and commands over the chat."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Close", id="dialog.cancel", show=False),
        Binding("f1,enter,q", "dismiss", "Close", show=False),
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
        nothing = SafeText("")
        rows: list[tuple[SafeText, SafeText, SafeText]] = [(SafeText("Writing"), nothing, nothing)]
        all_keys = {**DEFAULTS, **self._keymap}
        for keys, what in WRITING:
            rows.append((nothing, key_label(all_keys[keys]) if keys in all_keys else safe_line(keys), safe_line(what)))
        for group, commands in GROUPS.items():
            rows.append((safe_line(group), nothing, nothing))
            for command in commands:
                keys = key_label(self._keymap.get(command.id, command.keys))
                name = safe_line(f"/{command.name} {command.argument}") if command.in_palette else nothing
                rows.append((name, keys, safe_line(command.help)))
        width = max(len(name) for name, _, _ in rows)
        key_width = max(len(keys) for name, keys, _ in rows if name.startswith("/"))
        lines = []
        for name, keys, what in rows:
            if not keys and not what:
                lines += [Content(), Content.styled(name, "bold")]
            elif not name:
                lines.append(_line(Content.styled(keys.ljust(width + key_width + 4), "$primary"), what, room))
            else:
                named = Content.assemble((name.ljust(width + 2), "$secondary"), (keys.ljust(key_width + 2), "$primary"))
                lines.append(_line(named, what, room))
        return lines[1:]


def _line(head: Content, what: SafeText, room: int) -> Content:
    """A head and what it does beside it, or below it where the terminal is narrow."""
    indent = head.cell_length
    if room - indent < SMALLEST_COLUMN:
        below = wrap(what, max(SMALLEST_COLUMN, room - 4), initial_indent="    ", subsequent_indent="    ")
        return head.rstrip() + "\n" + "\n".join(below)
    return head + f"\n{' ' * indent}".join(wrap(what, room - indent))
