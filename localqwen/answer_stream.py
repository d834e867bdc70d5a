"""Reads the server-sent events of one chat completion, whoever sends them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from httpx_sse import ServerSentEvent

from localqwen.events import AnswerEvent, Delta, Finished, FinishReason, Prefill, Usage

# What reading a foreign object raises: wrong types, missing keys, numbers that are too large.
NONSENSE = (AttributeError, KeyError, TypeError, ValueError, OverflowError)


class AnswerStream:
    """Collects what a stream of chat completion chunks says about one answer."""

    def __init__(self) -> None:
        self.done = False
        self._reason: FinishReason | None = None
        self._error: str | None = None
        self._usage = Usage()

    def read(self, event: ServerSentEvent) -> list[AnswerEvent]:
        """What an event says. Raises :data:`NONSENSE` when it makes no sense."""
        if event.data == "[DONE]":
            self.done = True
            return []
        data = json_object(event.data)
        match event.event:
            case "localqwen.prefill":
                return [Prefill(int(data["done"]), int(data["total"]), float(data.get("yarn_factor", 0)))]
            case "localqwen.usage":
                self._usage = Usage.of(data)
                return []
            case "message" | "" | "error":
                return self._read_chunk(data)
            case _:
                return []

    def _read_chunk(self, chunk: Mapping[str, Any]) -> list[AnswerEvent]:
        if message := error_message(chunk):
            self._error, self.done = message, True
            return []
        if usage := chunk.get("usage"):
            self._read_usage(usage)
        events: list[AnswerEvent] = []
        for choice in chunk.get("choices") or []:
            if text := (choice.get("delta") or {}).get("content"):
                events.append(Delta(str(text)))
            if reason := choice.get("finish_reason"):
                self._reason = reason if reason in {"length", "cancelled"} else "stop"
        return events

    def _read_usage(self, usage: Mapping[str, Any]) -> None:
        if not self._usage.prompt_tokens:  # our own server's event says more
            details = usage.get("prompt_tokens_details")
            cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
            self._usage = Usage.of({**usage, "cached_tokens": cached})

    def finished(self) -> Finished | None:
        """How the answer ended, or ``None`` if the stream stopped without saying."""
        if self._error is not None:
            return Finished("error", self._usage, self._error)
        reason = self._reason or ("stop" if self.done else None)
        return Finished(reason, self._usage) if reason else None


def json_object(data: str | bytes) -> dict[str, Any]:
    """A JSON object; an empty one for anything else."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def error_message(data: Mapping[str, Any]) -> str:
    """The message of an error object: OpenAI's ``{"error": {"message"}}``, or the shapes that others use."""
    error = data.get("error") or (data.get("message") if data.get("object") == "error" else None) or data.get("detail")
    if isinstance(error, Mapping):
        error = error.get("message") or "it gave no reason"
    return str(error) if error else ""
