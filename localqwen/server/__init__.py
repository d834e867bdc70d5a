"""OpenAI's HTTP API over the engine."""

from __future__ import annotations
