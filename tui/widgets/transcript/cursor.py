"""A cursor over messages, blocks and code: keys move it, and commands ask what it is on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tui.widgets.transcript.base import Passage
from tui.widgets.transcript.document import Document

Kind = Literal["message", "block", "code"]


@dataclass(frozen=True, slots=True)
class Current:
    """What the cursor is on.

    Attributes:
        entry: The index of its entry.
        key: The message's id, if the entry has one.
        kind: What the cursor moves over: ``message``, ``block`` or ``code``.
        block: What it is: ``message``, ``text``, ``heading``, ``code``, ``list``, ``quote``, ``table`` or ``rule``.
        language: Of code, the word after the fence.
        text: The original, but for control characters.
        first: Its first line in the entry.
        end: The line after its last one.
    """

    entry: int
    key: int | None
    kind: Kind
    block: str
    language: str
    text: str
    first: int
    end: int


class Cursor:
    """A place in a document, which keeps it while entries grow."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._place: tuple[int, Kind, int] | None = None
        self._known: tuple[object, Current | None] = (None, None)

    def clear(self) -> None:
        """Be nowhere."""
        self._place = None

    @property
    def current(self) -> Current | None:
        """What the cursor is on."""
        document = self._document
        if self._place is None or document.look is None:
            return None
        index, kind, number = self._place
        document.lines_of(index)
        state = (self._place, document.entries[index].revision)
        if self._known[0] != state:
            self._known = state, self._find(index, kind, number)
        return self._known[1]

    def _find(self, index: int, kind: Kind, number: int) -> Current | None:
        document = self._document
        stops = self._stops(index, kind)
        if number >= len(stops):
            return None
        stop, entry = stops[number], document.entries[index]
        return Current(index, entry.key, kind, stop.kind, stop.language, stop.text, stop.first, stop.end)

    def go_to(self, index: int) -> None:
        """Be on the message at ``index``."""
        self._place = (index, "message", 0)

    def move(self, direction: int, kind: Kind, top: int, bottom: int) -> bool:
        """Go to the next (1) or previous (-1) of a kind; from what is in view, lines ``top`` to ``bottom``, at first.

        Returns:
            Whether there was one.
        """
        document = self._document
        if document.look is None or not document.entries:
            return False
        current = self.current
        if current is not None:
            index, line = current.entry, current.first
        else:
            y = top if direction > 0 else bottom
            index = document.at(y)
            line = y - document.top(index) - direction
        for at in self._entries(index, direction, kind):
            found = [
                number
                for number, stop in enumerate(self._stops(at, kind))
                if at != index or (stop.first - line) * direction > 0
            ]
            if found:
                self._place = (at, kind, found[0 if direction > 0 else -1])
                return True
        return False

    def last_code(self) -> Current | None:
        """The last code block of all."""
        document = self._document
        if document.look is None:
            return None
        for index in self._entries(len(document.entries) - 1, -1, "code"):
            if stops := self._stops(index, "code"):
                stop = stops[-1]
                key = document.entries[index].key
                return Current(index, key, "code", "code", stop.language, stop.text, stop.first, stop.end)
        return None

    def _entries(self, index: int, direction: int, kind: Kind) -> Iterator[int]:
        entries = self._document.entries
        while 0 <= index < len(entries):
            entry = entries[index]
            if entry.is_message and (kind != "code" or entry.may_have_code):
                yield index
            index += direction

    def _stops(self, index: int, kind: Kind) -> list[Passage]:
        document = self._document
        assert document.look is not None
        entry = document.entries[index]
        lines = document.lines_of(index)
        match kind:
            case "message":
                return [Passage(0, max(1, len(lines) - 1), "message", entry.text)]
            case "block":
                return list(entry.passages(document.look))
            case "code":
                return entry.codes(document.look)
