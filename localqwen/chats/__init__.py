"""Conversations: a tree of messages, its SQLite store, and the life of an answer. Knows nothing of screens."""

from __future__ import annotations
