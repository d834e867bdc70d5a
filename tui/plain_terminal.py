"""A terminal as lines: what is typed, line by line, and text that goes out; no cursor is ever moved."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import deque
from contextlib import suppress
from typing import Protocol, TypeAlias

from tui.sanitize import SafeText

READ_BYTES = 65536
PASTE_SECONDS = 0.03
# Bytes of a line that a terminal edits itself; Linux drops the rest without a word (N_TTY_BUF_SIZE with the end).
LONGEST_LINE = 4095


class Interrupt:
    """Somebody pressed Ctrl+C."""


class Cut:
    """A line came that is longer than the terminal hands on: what is left of it is not what was meant."""


Typed: TypeAlias = "str | Interrupt | Cut | None"


class Terminal(Protocol):
    """What the plain chat needs of a terminal."""

    def say(self, text: SafeText) -> None:
        """Write a text; line breaks are in it."""
        ...

    async def read(self) -> Typed:
        """The next line without its end, or that Ctrl+C was pressed; ``None`` when no more comes.

        Lines that were pasted together are one text, with newlines in it.
        """
        ...


class StandardTerminal:
    """Standard input and output, within a running event loop. Use it as ``with StandardTerminal() as terminal``.

    The terminal's driver edits and echoes the lines, which is what screen readers know best.
    """

    def __init__(self) -> None:
        self._input = sys.stdin.fileno()
        self._loop = asyncio.get_running_loop()
        self._read: deque[Typed] = deque()
        # A person types no second line within a moment; what comes through a pipe is lines, however fast it comes.
        self._joins = os.isatty(self._input)
        self._lines: list[str] = []
        self._is_cut = False
        self._flush: asyncio.TimerHandle | None = None
        self._partial = b""
        self._news = asyncio.Event()
        self._encoding = sys.stdout.encoding or "utf-8"

    def __enter__(self) -> StandardTerminal:
        self._loop.add_reader(self._input, self._on_input)
        self._loop.add_signal_handler(signal.SIGINT, self._put, Interrupt())
        return self

    def __exit__(self, *error: object) -> None:
        if self._flush is not None:
            self._flush.cancel()
        self._loop.remove_reader(self._input)
        self._loop.remove_signal_handler(signal.SIGINT)

    def say(self, text: SafeText) -> None:
        """Write at once; what the terminal's character set lacks becomes a question mark."""
        with suppress(BrokenPipeError):
            sys.stdout.buffer.write(text.encode(self._encoding, "replace"))
            sys.stdout.buffer.flush()

    async def read(self) -> Typed:
        """See :class:`Terminal`. May be cancelled without losing a line."""
        while not self._read:
            self._news.clear()
            await self._news.wait()
        return self._read.popleft()

    def _on_input(self) -> None:
        try:
            data = os.read(self._input, READ_BYTES)
        except OSError:  # the terminal is gone
            data = b""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._is_cut |= self._joins and len(line) >= LONGEST_LINE
            self._take(line.decode("utf-8", "replace").removesuffix("\r"))
        if not data:
            self._loop.remove_reader(self._input)
            self._put_lines()
            if self._partial:
                self._put(self._partial.decode("utf-8", "replace"))
            self._put(None)

    def _take(self, line: str) -> None:
        if not self._joins:
            self._put(line)
            return
        self._lines.append(line)
        if self._flush is not None:
            self._flush.cancel()
        # A terminal gives one line to each read, so whether there are more is seen only by waiting for them.
        self._flush = self._loop.call_later(PASTE_SECONDS, self._put_lines)

    def _put_lines(self) -> None:
        if self._lines:
            self._put(Cut() if self._is_cut else "\n".join(self._lines))
            self._lines, self._is_cut = [], False

    def _put(self, item: Typed) -> None:
        self._read.append(item)
        self._news.set()
