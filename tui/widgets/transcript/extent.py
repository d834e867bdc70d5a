"""Heights one below another, whose sums are found and changed in logarithmic time (a Fenwick tree)."""

from __future__ import annotations

from collections.abc import Iterable


class Extent:
    """The heights of entries, in lines."""

    def __init__(self, heights: Iterable[int] = ()) -> None:
        self._heights: list[int] = list(heights)
        # Node i, counted from 1, holds the sum of the last (i & -i) heights up to it.
        self._nodes = [0, *self._heights]
        for node in range(1, len(self._nodes)):
            parent = node + (node & -node)
            if parent < len(self._nodes):
                self._nodes[parent] += self._nodes[node]

    def __len__(self) -> int:
        return len(self._heights)

    @property
    def total(self) -> int:
        """All heights together."""
        return self.top(len(self._heights))

    def append(self, height: int) -> None:
        """Add a height at the end."""
        node = len(self._nodes)
        below = self.top(node - 1) - self.top(node - (node & -node))
        self._heights.append(height)
        self._nodes.append(below + height)

    def pop(self) -> None:
        """Take the last height away."""
        self._heights.pop()
        self._nodes.pop()

    def set(self, index: int, height: int) -> int:
        """Change a height; returns by how much."""
        change = height - self._heights[index]
        self._heights[index] = height
        node = index + 1
        while change and node < len(self._nodes):
            self._nodes[node] += change
            node += node & -node
        return change

    def top(self, index: int) -> int:
        """The sum of the heights before ``index``."""
        total = 0
        while index:
            total += self._nodes[index]
            index &= index - 1
        return total

    def at(self, line: int) -> int:
        """The index of what holds a line; the nearest one for lines outside."""
        index, step = 0, 1 << len(self._heights).bit_length()
        while step:
            following = index + step
            if following < len(self._nodes) and self._nodes[following] <= line:
                index = following
                line -= self._nodes[following]
            step >>= 1
        return max(0, min(index, len(self._heights) - 1))
