"""Tool calls in Hermes form, read while they are generated. Pure.

However the text is cut, the same content and the same calls come out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from localqwen.server.tools import CLOSE, OPEN

# The form that the model was taught. A call in another order of keys is read when it is complete.
HEADER = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)+")\s*,\s*"arguments"\s*:\s*\{')
MAX_HEADER = 1024
TAIL = re.compile(r"\s*\}?\s*")


@dataclass(frozen=True, slots=True)
class CallBegun:
    """The ``index``-th call of the answer goes to the tool ``name``."""

    index: int
    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    """More of the JSON text of a call's arguments."""

    index: int
    text: str


Part: TypeAlias = str | CallBegun | CallArguments


class ToolCallParser:
    """Splits an answer into content and calls.

    Tags never show in the content, and nothing else is lost: what stands between the tags and is no call becomes
    content, tags included. The line break before a first call, and white space between calls, belong to the form.
    """

    def __init__(self) -> None:
        self.calls = 0
        self._state = self._in_text
        self._held = ""
        self._opening = OPEN  # the last opening tag, with the white space before it that is no content
        self._tail_open = False  # a call's closing tag is still to come
        self._after_call = False  # nothing but white space has come since the last call
        self._arguments = _ObjectEnd()

    def feed(self, text: str) -> list[Part]:
        """Take more text; return what is certain now."""
        self._held += text
        parts: list[Part] = []
        while True:
            before = self._state
            parts += self._state()
            if self._state == before:
                return parts

    def finish(self) -> list[Part]:
        """What is left when the answer is over."""
        held, self._held = self._held, ""
        if self._state == self._in_header:
            return list(self._whole_call(held) or [self._opening + held])
        if self._state == self._in_tail:
            return []  # the rest of the form, as far as it came
        return [held] if held and not (self._after_call and held.isspace()) else []

    def _in_text(self) -> Iterator[Part]:
        tags = [OPEN, CLOSE] if self._tail_open else [OPEN]
        found = [(at, tag) for tag in tags if (at := self._held.find(tag)) >= 0]
        if found:
            at, tag = min(found)
            text, self._held = self._held[:at], self._held[at + len(tag) :]
            self._tail_open = False
            if tag == OPEN:
                content = "" if self._after_call and text.isspace() else text.removesuffix("\n")
                self._opening = text[len(content) :] + OPEN
                self._state = self._in_header
                yield from self._content(content)
            else:
                yield from self._content(text)
                self._after_call = True
                yield from self._in_text()
            return
        keep = _could_start(self._held, [f"\n{OPEN}", *tags])
        text = self._held[: len(self._held) - keep]
        if self._after_call and (not text or text.isspace()):
            return  # until it is known whether another call follows
        self._held = self._held[len(text) :]
        yield from self._content(text)

    def _content(self, text: str) -> Iterator[Part]:
        if text and not (self._after_call and text.isspace()):
            self._after_call = False
            yield text

    def _in_header(self) -> Iterator[Part]:
        close = self._held.find(CLOSE)
        header = _header(self._held)
        if header is not None and (close < 0 or header[1] < close + len(CLOSE)):
            name, start = header
            self._held = self._held[start:]
            self._arguments = _ObjectEnd()
            self._state = self._in_arguments
            yield CallBegun(self.calls, name)
            self.calls += 1
        elif close >= 0:
            body, self._held = self._held[:close], self._held[close + len(CLOSE) :]
            self._state = self._in_text
            call = self._whole_call(body)
            self._after_call = call is not None
            yield from call or [self._opening + body + CLOSE]

    def _in_arguments(self) -> Iterator[Part]:
        end = self._arguments.find(self._held)
        text, self._held = self._held[:end], self._held[end:]
        if text:
            yield CallArguments(self.calls - 1, text)
        if self._arguments.found:
            self._state = self._in_tail

    def _in_tail(self) -> Iterator[Part]:
        match = TAIL.match(self._held)
        rest = self._held[match.end() :] if match else self._held
        if not rest or (rest not in {OPEN, CLOSE} and any(tag.startswith(rest) for tag in (OPEN, CLOSE))):
            return
        # Whatever comes now (a forgotten tag, a further key), the call is over.
        self._held = rest
        self._after_call = self._tail_open = True
        self._state = self._in_text
        yield from ()

    def _whole_call(self, body: str) -> list[Part] | None:
        """A call whose keys are in another order, or that has no arguments."""
        try:
            call = json.loads(body, strict=False)
        except (ValueError, RecursionError):
            return None
        if not isinstance(call, dict) or not isinstance(call.get("name"), str) or not call["name"]:
            return None
        arguments = call.get("arguments", {})
        if not isinstance(arguments, dict):
            return None
        index, self.calls = self.calls, self.calls + 1
        return [CallBegun(index, call["name"]), CallArguments(index, json.dumps(arguments, ensure_ascii=False))]


class _ObjectEnd:
    """Finds where a JSON object ends, over pieces of its text."""

    def __init__(self) -> None:
        self.found = False
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def find(self, text: str) -> int:
        """How much of ``text`` belongs to the object."""
        for i, char in enumerate(text):
            if self._escaped:
                self._escaped = False
            elif self._in_string:
                self._escaped = char == "\\"
                self._in_string = char != '"'
            elif char == '"':
                self._in_string = True
            elif char in "{[":
                self._depth += 1
            elif char in "}]":
                self._depth -= 1
                if not self._depth:
                    self.found = True
                    return i + 1
        return len(text)


def _header(text: str) -> tuple[str, int] | None:
    """The name in a call's first part, and where its arguments begin."""
    match = HEADER.match(text[:MAX_HEADER])
    if match is None:
        return None
    try:
        return str(json.loads(match[1], strict=False)), match.end() - 1
    except ValueError:
        return None


def _could_start(text: str, tags: list[str]) -> int:
    """The length of the longest end of ``text`` that could become a tag."""
    for length in range(min(len(text), max(map(len, tags)) - 1), 0, -1):
        if any(tag.startswith(text[-length:]) for tag in tags):
            return length
    return 0
