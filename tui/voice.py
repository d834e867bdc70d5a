"""What the chat tells a person in passing: news, and what went wrong."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.screen import Screen

from localqwen.errors import LocalqwenError
from tui.sanitize import SafeText, safe_line

COMPLAINT_SECONDS = 20


class Voice:
    """Tells sentences in a corner of a screen."""

    def __init__(self, screen: Screen[None]) -> None:
        self._screen = screen
        self._complained: dict[str, float] = {}

    def say(self, sentence: SafeText, *, seconds: float = 4) -> None:
        """Tell something that needs no answer."""
        self._screen.notify(sentence, timeout=seconds, markup=False)

    def warn(self, sentence: SafeText) -> None:
        """Tell of a mishap, however often it comes."""
        self._screen.notify(sentence, severity="error", timeout=COMPLAINT_SECONDS, markup=False)

    def complain(self, error: LocalqwenError) -> None:
        """Tell what went wrong, unless the same sentence is still there: drafts are kept several times a second."""
        if not self._screen.is_running:
            return  # workers outlive the widgets when the app ends in another way than Ctrl+Q
        sentence = safe_line(str(error))
        now = time.monotonic()
        if now - self._complained.get(sentence, -math.inf) < COMPLAINT_SECONDS:
            return
        self._complained = {sentence: now}
        self.warn(safe_line(sentence[:1].upper() + sentence[1:]))

    async def trying(self, work: Awaitable[object]) -> bool:
        """Await something that may fail in words; tell whether it did what it should."""
        try:
            await work
        except LocalqwenError as error:
            self.complain(error)
            return False
        return True

    async def tell_written(self, write: Callable[[], Path]) -> None:
        """Let a file be written, and tell where it is or what went wrong."""
        try:
            path = await asyncio.to_thread(write)
        except LocalqwenError as error:
            self.complain(error)
        else:
            self.say(safe_line(f"Written to {path}."), seconds=8)
