"""The Textual chat app. It imports ``localqwen.client`` and ``localqwen.chats``, never the engine."""

from __future__ import annotations

import os

# Textual paints what has changed at the next of these moments, so that at its usual 60 a second a key waits for up to
# 17 ms. Only what has changed is painted: nothing is painted more often by it.
os.environ.setdefault("TEXTUAL_FPS", "480")
