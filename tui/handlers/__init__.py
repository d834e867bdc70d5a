"""What commands do, by topic. Each class maps the ids of its commands to methods that take the argument."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from tui.desk import Desk
from tui.sanitize import SafeText, safe_line

Handler: TypeAlias = Callable[[str], Awaitable[object] | object]


async def asked(desk: Desk, title: str, text: SafeText, hint: str) -> str:
    """What is typed in a dialog of one line that begins with ``text``; ``""`` for Esc."""
    from tui.screens.line import LineScreen

    line = LineScreen(safe_line(title), text, safe_line(hint))
    typed: str | None = await desk.screen.app.push_screen_wait(line)
    return typed or ""
