"""A scroll bar that is painted when its thumb looks different, and not whenever a line is added."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil

from textual.reactive import Reactive
from textual.scrollbar import ScrollBar

EIGHTHS = 8


class SteadyScrollBar(ScrollBar):
    """Textual's: beside a long conversation its thumb stays where it is for thousands of new lines."""

    window_virtual_size: Reactive[int] = Reactive(100, repaint=False)
    window_size: Reactive[int] = Reactive(0, repaint=False)
    position: Reactive[float] = Reactive(0, repaint=False)

    def __init__(self, *, thickness: int) -> None:
        """``thickness`` in cells."""
        super().__init__(vertical=True, name="vertical", thickness=thickness)
        self._shown: tuple[int, int] | None = None
        self._is_held = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Look at the thumb at the end only: a height and a place that belong together come one after the other."""
        before, self._is_held = self._is_held, True
        try:
            yield
        finally:
            self._is_held = before
            self._show_thumb()

    def watch_window_virtual_size(self) -> None:
        """Another height of all lines."""
        self._show_thumb()

    def watch_window_size(self) -> None:
        """Another height of the view."""
        self._show_thumb()

    def watch_position(self) -> None:
        """Another line at the top."""
        self._show_thumb()

    def _show_thumb(self) -> None:
        if not self._is_held and (thumb := self._thumb()) != self._shown:
            self._shown = thumb
            self.refresh()

    def _thumb(self) -> tuple[int, int]:
        return thumb(self.size.height, self.window_size, self.window_virtual_size, self.position)


def thumb(size: int, window: int, virtual: int, position: float) -> tuple[int, int]:
    """Where a thumb begins and ends, in eighths of a cell, as `ScrollBarRender` of Textual paints it.

    ``size`` are the bar's cells; ``window`` lines of ``virtual`` ones are in view, from ``position`` on.
    """
    if not (size and window) or virtual <= window:
        return 0, size * EIGHTHS
    length = max(1, window * size / virtual)
    begin = int((size - length) * position / (virtual - window) * EIGHTHS)
    return begin, begin + ceil(length * EIGHTHS)
