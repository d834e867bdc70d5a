"""One choice of a chat completion: its chunks, or its message."""

from __future__ import annotations

import uuid
from typing import Any

from localqwen.events import Delta, Finished, Logprobs
from localqwen.server import sse
from localqwen.server.generation import Head, TextChunk, finish_reason
from localqwen.server.logprobs import chat_logprobs
from localqwen.server.tool_calls import CallArguments, CallBegun, Part, ToolCallParser


class ChatChunks:
    """A choice as chunks: the role first, then text and calls, then the reason of the end."""

    def __init__(
        self,
        head: Head,
        index: int,
        parser: ToolCallParser | None = None,
        *,
        logprobs: bool = False,
        usage: bool = False,
    ) -> None:
        """``parser`` finds calls where tools were shown; with ``usage`` every chunk has the field, without a value."""
        self._head = head
        self._index = index
        self._parser = parser
        self._logprobs = logprobs
        self._pending: list[Logprobs] = []  # of tokens whose text has not come out yet
        self._usage = {"usage": None} if usage else {}
        self._text = TextChunk(lambda text: self._body({"content": text}))

    def begin(self) -> bytes:
        """The chunk with the role."""
        return sse.message(self._body({"role": "assistant", "content": ""}))

    def delta(self, delta: Delta) -> bytes:
        """Chunks for more text."""
        self._pending += delta.logprobs
        return self._parts(self._parser.feed(delta.text) if self._parser else [delta.text])

    def end(self, finished: Finished) -> bytes:
        """Chunks for the end."""
        rest = self._parts(self._parser.finish() if self._parser else [])
        reason = finish_reason(finished, self._parser.calls if self._parser else 0)
        return rest + sse.message(self._body({}, reason))

    def _parts(self, parts: list[Part]) -> bytes:
        return b"".join(map(self._part, parts))

    def _part(self, part: Part) -> bytes:
        if isinstance(part, str) and not self._logprobs:
            return self._text(part)
        return sse.message(self._body({"content": part} if isinstance(part, str) else {"tool_calls": [_call(part)]}))

    def _body(self, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        logprobs = chat_logprobs(self._pending) if self._pending else None
        self._pending = []
        choice = {"index": self._index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return self._head.body([choice], **self._usage)


class ChatBody:
    """A choice in one piece."""

    def __init__(self, index: int, parser: ToolCallParser | None = None, *, logprobs: bool = False) -> None:
        self._index = index
        self._parser = parser
        self._logprobs: list[Logprobs] | None = [] if logprobs else None
        self._text: list[str] = []
        self._calls: list[dict[str, Any]] = []

    def delta(self, delta: Delta) -> None:
        """More text."""
        if self._logprobs is not None:
            self._logprobs += delta.logprobs
        self._take(self._parser.feed(delta.text) if self._parser else [delta.text])

    def end(self, finished: Finished) -> dict[str, Any]:
        """The choice."""
        self._take(self._parser.finish() if self._parser else [])
        text = "".join(self._text)
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if self._calls:
            message |= {"content": text or None, "tool_calls": self._calls}
        return {
            "index": self._index,
            "message": message,
            "logprobs": None if self._logprobs is None else chat_logprobs(self._logprobs),
            "finish_reason": finish_reason(finished, len(self._calls)),
        }

    def _take(self, parts: list[Part]) -> None:
        for part in parts:
            if isinstance(part, str):
                self._text.append(part)
            elif isinstance(part, CallBegun):
                self._calls.append({key: value for key, value in _call(part).items() if key != "index"})
            else:
                self._calls[part.index]["function"]["arguments"] += part.text


def _call(part: CallBegun | CallArguments) -> dict[str, Any]:
    if isinstance(part, CallArguments):
        return {"index": part.index, "function": {"arguments": part.text}}
    function = {"name": part.name, "arguments": ""}
    return {"index": part.index, "id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": function}
