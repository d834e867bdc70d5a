"""The app's screens."""

from __future__ import annotations

# By these names the settings file gives other keys to all dialogs: (name, keys, label).
FORM_KEYS = (
    ("dialog.accept", "ctrl+s,ctrl+enter", "Take what is in the form"),
    ("dialog.cancel", "escape", "Cancel, or close"),
    ("dialog.editor", "ctrl+g", "Write a message that is edited in your editor"),
)
LINE_KEYS = (
    ("dialog.take", "enter", "Take the line, or what is marked in the list"),
    ("dialog.previous", "up", "The row above in a list under a line"),
    ("dialog.next", "down", "The row below in a list under a line"),
)
READING_KEYS = (("dialog.close", "enter,q", "Close what is only read"),)
