"""Where a message is written: text, attachments, completion, history."""

from __future__ import annotations

from tui.widgets.composer.widget import Composer

__all__ = ["Composer"]
