"""Entries one below another: which line is where. No widget; heights that are not known yet are estimates."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator

from textual.strip import Strip

from tui.widgets.transcript.entry import Entry, Look

# Strips are many small objects. Kept for all of a long conversation they cost 100 MB, and a third of a second at each
# full garbage collection; an entry is made again in a few milliseconds.
KEPT_ENTRIES = 48


class Document:
    """A list of entries and their vertical extent in lines."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.look: Look | None = None
        self._heights: list[int] = []
        self._tops: list[int] = [0]
        self._unmeasured: set[int] = set()
        self._kept: OrderedDict[int, None] = OrderedDict()

    @property
    def height(self) -> int:
        """Lines of all entries together."""
        return self._tops[-1]

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
            self._heights.append(entry.estimate(self.look))
            self._tops.append(self._tops[-1] + self._heights[-1])
            self._unmeasured.add(len(self.entries) - 1)

    def set_look(self, look: Look) -> None:
        """Another width or theme: everything will be rendered anew, when it is needed."""
        self.look = look
        self._estimate_all()

    def top(self, index: int) -> int:
        """The first line of an entry."""
        return self._tops[index]

    def at(self, line: int) -> int:
        """The index of the entry that holds a line; the nearest one for lines outside."""
        return max(0, min(bisect_right(self._tops, line) - 1, len(self.entries) - 1))

    def measure(self, index: int) -> int:
        """Render an entry and return by how much its height changes."""
        assert self.look is not None
        height = len(self._strips(index, self.look))
        change = height - self._heights[index]
        self._unmeasured.discard(index)
        if change:
            self._heights[index] = height
            for i in range(index + 1, len(self._tops)):
                self._tops[i] += change
        return change

    def is_estimate(self, index: int) -> bool:
        """Whether an entry's height is not known exactly yet."""
        return index in self._unmeasured

    def next_unmeasured(self) -> int | None:
        """The last entry whose height is an estimate: a reader is nearer to the end than to the start."""
        return max(self._unmeasured, default=None)

    def line(self, y: int) -> Strip | None:
        """One line; ``None`` outside of the document, or where an estimate was too high."""
        if self.look is None or not 0 <= y < self.height:
            return None
        index = self.at(y)
        strips = self._strips(index, self.look)
        offset = y - self._tops[index]
        return strips[offset] if offset < len(strips) else None

    def lines(self, first: int, last: int) -> Iterator[str]:
        """The text of the lines from ``first`` to ``last``, both included."""
        for y in range(first, last + 1):
            strip = self.line(y)
            yield strip.text if strip is not None else ""

    def _strips(self, index: int, look: Look) -> list[Strip]:
        self._kept[index] = None
        self._kept.move_to_end(index)
        if len(self._kept) > KEPT_ENTRIES:
            oldest, _ = self._kept.popitem(last=False)
            self.entries[oldest].forget()
        return self.entries[index].strips(look)

    def _estimate_all(self) -> None:
        self._tops = [0]
        self._heights = []
        self._unmeasured = set()
        if self.look is None:
            return
        for index, entry in enumerate(self.entries):
            rendered = entry.is_rendered(self.look)
            self._heights.append(len(entry.strips(self.look)) if rendered else entry.estimate(self.look))
            self._tops.append(self._tops[-1] + self._heights[-1])
            if not rendered:
                self._unmeasured.add(index)
