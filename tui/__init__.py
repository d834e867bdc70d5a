"""The Textual chat app. It imports ``localqwen.client`` and ``localqwen.chats``, never the engine."""

from __future__ import annotations
