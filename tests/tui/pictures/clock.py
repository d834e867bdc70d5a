"""A clock that a test moves."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

# Whoever tells a person how long something takes.
TELLERS = ("tui.asking", "tui.backend", "tui.presenter", "tui.widgets.status", "localqwen.chats.answering")


class Clock:
    """Seconds that stand still until they are moved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        # Not the module itself: the event loop must not stand still.
        stopped = SimpleNamespace(monotonic=lambda: self.now, perf_counter=time.perf_counter, time=time.time)
        for teller in TELLERS:
            monkeypatch.setattr(f"{teller}.time", stopped)

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
