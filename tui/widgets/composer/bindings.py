"""The composer's keys, by the names that the settings file gives others to."""

from __future__ import annotations

from textual.binding import Binding

BINDINGS: tuple[Binding, ...] = (
    Binding("enter", "send", "Send the message, or queue it behind the answer", id="composer.send", show=False),
    # Terminals without the Kitty protocol cannot tell Shift+Enter from Enter; Ctrl+J works in all of them.
    Binding("ctrl+j,shift+enter,alt+enter", "newline", "Break the line", id="composer.newline", show=False),
    Binding("tab", "complete", "Complete, or go to the conversation", id="composer.complete", show=False),
    Binding("up", "up", "Earlier message, or the row above", id="composer.up", show=False),
    Binding("down", "down", "Later message, or the row below", id="composer.down", show=False),
    Binding("escape", "dismiss", "Close what is offered", id="composer.dismiss", show=False),
    Binding(
        "backspace",
        "drop",
        "At the start of the text: take the last attachment away",
        id="composer.drop",
        show=False,
    ),
    Binding("ctrl+z,super+z", "undo", "Undo", id="composer.undo", show=False),
    Binding("ctrl+y,super+y", "redo", "Redo", id="composer.redo", show=False),
    Binding("ctrl+g", "editor", "Write on in your editor", id="composer.editor", show=False),
)
