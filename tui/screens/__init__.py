"""The app's screens."""

from __future__ import annotations

# By these names the settings file gives other keys to all dialogs.
DIALOG_KEYS = {"dialog.accept": "ctrl+s,ctrl+enter", "dialog.cancel": "escape", "dialog.editor": "ctrl+g"}
