"""What a terminal sends as a paste is text and nothing else.

Inside a paste Textual's parser still looks for escape sequences, and types those that it does not know as keys: an
Enter or a Ctrl+Q among what was copied from a web page would be pressed. Bytes that are no UTF-8 end the whole app.
Not every terminal keeps such things out of a paste, so it is done here. It also reads a paste character by character,
for most of a second where it has a megabyte: here it gets the beginning and the end, and the text goes around it.
"""

from __future__ import annotations

import codecs
import sys
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

from textual import events
from textual._xterm_parser import XTermParser
from textual.driver import Driver
from textual.message import Message

BEGIN, END = "\x1b[200~", "\x1b[201~"
_LEFT_OUT = {0x00: None, 0x1B: None}


class PasteFilter:
    """Takes out what is pasted; whatever else a terminal sends goes through at once.

    ``pastes`` are the texts of the pastes whose ends have gone through, without escapes, oldest first.
    """

    def __init__(self) -> None:
        self.pastes: deque[str] = deque()
        self._text: list[str] = []
        self._inside = False
        self._rest = ""  # inside, the beginning of an end, which is held back; outside, that of a begin, which is not

    def feed(self, data: str) -> str:
        """``data``, which may end anywhere, without the texts of pastes."""
        if not self._inside and "\x1b" not in data and not self._rest:
            return data
        passed: list[str] = []
        while data:
            data = self._in_paste(data, passed) if self._inside else self._out_of_paste(data, passed)
        return "".join(passed)

    def _out_of_paste(self, data: str, passed: list[str]) -> str:
        seen = self._rest + data
        at = seen.find(BEGIN)
        if at < 0:
            passed.append(data)
            self._rest = _beginning(BEGIN, seen)
            return ""
        end = at + len(BEGIN) - len(self._rest)
        passed.append(data[:end])
        self._inside, self._rest = True, ""
        return data[end:]

    def _in_paste(self, data: str, passed: list[str]) -> str:
        text, end, after = (self._rest + data).partition(END)
        self._rest = "" if end else _beginning(END, text)
        self._text.append(text.removesuffix(self._rest))
        if end:
            # Escapes here: one may have been held back. Textual takes the NULs out as well.
            self.pastes.append("".join(self._text).translate(_LEFT_OUT))
            self._text.clear()
            self._inside = False
            passed.append(end)
        return after


class PasteParser(XTermParser):
    """Textual's parser of what a terminal sends, behind the filter."""

    def __init__(self, debug: bool = False) -> None:
        self._filter = PasteFilter()
        super().__init__(debug)

    def feed(self, data: str) -> Iterable[Message]:
        """Parse ``data``, with the pastes in their places; only what was empty before ends the stream."""
        left = self._filter.feed(data)
        if left or not data:
            for message in super().feed(left):
                # It has seen nothing between the ends of this one.
                yield events.Paste(self._filter.pastes.popleft()) if isinstance(message, events.Paste) else message


def guard(driver: type[Driver]) -> None:
    """Let a driver of Textual's read pastes as text. Drivers have no public place for a parser or a decoder."""
    module = sys.modules[driver.__module__]
    for name, ours in (("XTermParser", PasteParser), ("getincrementaldecoder", _lenient)):
        if hasattr(module, name):
            setattr(module, name, ours)


def _lenient(encoding: str) -> Callable[[], codecs.IncrementalDecoder]:
    return partial(codecs.getincrementaldecoder(encoding), errors="replace")


def _beginning(mark: str, text: str) -> str:
    """The longest end of ``text`` with which ``mark`` may begin, but for the whole of it."""
    return next((mark[:length] for length in range(len(mark) - 1, 0, -1) if text.endswith(mark[:length])), "")
