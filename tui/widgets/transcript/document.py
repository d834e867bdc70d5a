"""Entries one below another: which line is where. No widget; heights that are not known yet are estimates."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from time import perf_counter

from tui.widgets.transcript.base import Entry, Look
from tui.widgets.transcript.extent import Extent
from tui.widgets.transcript.line import Line

# Lines are many small objects. Kept for all of a long conversation they cost 100 MB, and a third of a second at each
# full garbage collection; an entry is made again in a few milliseconds.
KEPT_ENTRIES = 48

# From which line on lines have moved, and by how many.
Move = tuple[int, int]


class Document:
    """A list of entries and their vertical extent in lines."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.look: Look | None = None
        self._extent = Extent()
        self._unmeasured: set[int] = set()
        self._to_find: list[int] = []
        self._found: dict[int, int] = {}
        self._kept: OrderedDict[int, None] = OrderedDict()

    @property
    def height(self) -> int:
        """Lines of all entries together."""
        return self._extent.total

    @property
    def is_exact(self) -> bool:
        """Whether no height is an estimate any more."""
        return not self._unmeasured

    def replace(self, entries: Iterable[Entry]) -> None:
        """Show other entries."""
        self.entries = list(entries)
        self._kept.clear()
        self._estimate_all()

    def append(self, entry: Entry) -> None:
        """Add an entry at the end."""
        self.entries.append(entry)
        if self.look is not None:
            self._extent.append(entry.estimate(self.look))
            self._unmeasured.add(len(self.entries) - 1)
            self._to_find.append(len(self.entries) - 1)

    def drop_last(self) -> None:
        """Take the last entry away."""
        self.entries.pop()
        index = len(self.entries)
        self._kept.pop(index, None)
        self._unmeasured.discard(index)
        self._found.pop(index, None)
        if self.look is not None:
            self._extent.pop()

    def set_look(self, look: Look) -> None:
        """Another width or theme: everything will be rendered anew, when it is needed. Colours change no height."""
        before, self.look = self.look, look
        if before is None or before.width != look.width:
            self._estimate_all()

    def index(self, entry: Entry) -> int | None:
        """Where an entry is; found soonest near the end."""
        for index in range(len(self.entries) - 1, -1, -1):
            if self.entries[index] is entry:
                return index
        return None

    def top(self, index: int) -> int:
        """The first line of an entry; the line after the last one for the entry after the last one."""
        return self._extent.top(index)

    def at(self, line: int) -> int:
        """The index of the entry that holds a line; the nearest one for lines outside."""
        return self._extent.at(line)

    def lines_of(self, index: int) -> list[Line]:
        """The lines of an entry."""
        assert self.look is not None
        self._kept[index] = None
        self._kept.move_to_end(index)
        if len(self._kept) > KEPT_ENTRIES:
            oldest, _ = self._kept.popitem(last=False)
            self.entries[oldest].forget()
        return self.entries[index].lines(self.look)

    def measure(self, index: int) -> int:
        """Render an entry and return by how much its height changes."""
        height = len(self.lines_of(index))
        self._unmeasured.discard(index)
        self._found.pop(index, None)
        return self._extent.set(index, height)

    def find_heights(self, deadline: float) -> bool:
        """Find exact heights until ``deadline``, which count from :meth:`take_heights` on.

        The last ones come first: a reader is nearer to the end than to the start.

        Returns:
            Whether some are left to find.
        """
        assert self.look is not None
        while self._to_find and perf_counter() < deadline:
            index = self._to_find[-1]
            if index in self._unmeasured:
                if not self.entries[index].prepare(self.look, deadline):
                    break
                self._found[index] = len(self.lines_of(index))
            self._to_find.pop()
        return bool(self._to_find)

    def take_heights(self) -> list[Move]:
        """Let all heights count that were found; returns what has moved by that, one after the other."""
        moves: list[Move] = []
        for index, height in self._found.items():
            end = self._extent.top(index + 1)
            if change := self._extent.set(index, height):
                moves.append((end, change))
            self._unmeasured.discard(index)
        self._found.clear()
        return moves

    def is_estimate(self, index: int) -> bool:
        """Whether an entry's height is not known exactly yet."""
        return index in self._unmeasured

    def line(self, y: int) -> Line | None:
        """One line; ``None`` outside of the document, or where an estimate was too high."""
        if self.look is None or not 0 <= y < self.height:
            return None
        index = self.at(y)
        lines = self.lines_of(index)
        offset = y - self.top(index)
        return lines[offset] if offset < len(lines) else None

    def lines(self, first: int, last: int) -> Iterator[Line | None]:
        """The lines from ``first`` to ``last``, both included."""
        for y in range(first, last + 1):
            yield self.line(y)

    def _estimate_all(self) -> None:
        if self.look is None:
            return
        self._extent = Extent([entry.estimate(self.look) for entry in self.entries])
        self._to_find = list(range(len(self.entries)))
        self._unmeasured = set(self._to_find)
        self._found.clear()
