"""A screen that paints no more than it must, for a conversation that grows by a line at a time.

Textual's compositor, at each change, asks every widget near it for all of its lines, and then throws away those that
lie behind others or have not changed, which was most of what a frame cost. And at another size it paints everything
twice. What is painted here is the same. Textual's version is pinned, for these methods are its own affair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from textual._compositor import ChopsUpdate, Compositor
from textual.geometry import Region, Size
from textual.screen import Screen
from textual.strip import Strip

# The columns of a line that are painted: from, and up to.
Span = tuple[int, int]
# A line's pieces by the column where they begin, and None where nothing is known of one yet.
Chops = dict[int, Strip | None]


class SparingCompositor(Compositor):
    """Asks a widget only for lines that are to be painted and that nothing in front of it covers."""

    def render_partial_update(self) -> ChopsUpdate | None:
        """What has changed, as pieces of lines; ``None`` if nothing has."""
        regions = self._dirty_regions.copy()
        self._dirty_regions.clear()
        if not regions:
            return None
        spans = [span for span in self._regions_to_spans(regions) if 0 <= span[0] < self.size.height]
        if not spans:
            return None
        wanted: dict[int, Span] = {}
        for y, begin, end in spans:
            first, last = wanted.get(y, (begin, end))
            wanted[y] = min(first, begin), max(last, end)
        chops = self._chops(wanted)
        return ChopsUpdate(chops, spans, [cuts[1:] for cuts in self.cuts])

    def _render_chops(self, crop: Region, is_rendered_line: Callable[[int], bool]) -> Sequence[Mapping[int, Strip]]:
        """The same for all of a region: for the whole screen, a picture, and what a dialog stands on."""
        crop = crop.intersection(self.size.region)
        span = crop.x, crop.right
        chops = self._chops({y: span for y in crop.line_range if is_rendered_line(y)})
        return cast("Sequence[Mapping[int, Strip]]", chops)

    def _chops(self, wanted: Mapping[int, Span]) -> list[Chops]:
        cuts = self.cuts
        chops: list[Chops] = [dict.fromkeys(line[:-1]) for line in cuts]
        missing = {
            y: {cut for cut, until in zip(cuts[y], cuts[y][1:], strict=False) if cut < end and until > begin}
            for y, (begin, end) in wanted.items()
        }
        # Those in front come first.
        for widget, (region, clip) in self.visible_widgets.items():
            x, top, width, height = region.intersection(clip)
            right = x + width
            lines = [
                y
                for y in range(top, top + height)
                if (left := missing.get(y)) and any(x <= cut < right for cut in left)
            ]
            if not lines:
                continue
            first, last = lines[0], lines[-1]
            strips = widget.render_lines(Region(x - region.x, first - region.y, width, last - first + 1))
            for y in lines:
                here = [cut for cut in cuts[y] if x <= cut <= right]
                # A strip that is divided into itself would remember that, and be garbage in a circle at the next frame.
                strip = strips[y - first]
                whole = strip.cell_length == here[1] - x
                pieces = [strip] if whole else strip.divide([cut - x for cut in here[1:]])
                left = missing[y]
                for cut, piece in zip(here, pieces, strict=False):
                    if cut in left:
                        chops[y][cut] = piece
                        left.discard(cut)
                if not left:
                    del missing[y]
            if not missing:
                break
        return chops


class SparingScreen(Screen[None]):
    """Textual's, with a :class:`SparingCompositor`."""

    def __init__(self) -> None:
        super().__init__()
        self._compositor = SparingCompositor()
        self._is_resizing = False

    def _screen_resized(self, size: Size) -> None:
        """Lay out for another size, and paint once the widgets have heard of theirs.

        They ask for a second layout as they do, so that a picture of the first one would be seen for a moment only.
        """
        self._is_resizing = True
        try:
            super()._screen_resized(size)
        finally:
            self._is_resizing = False
        self.refresh(layout=True)

    def _compositor_refresh(self) -> None:
        if not self._is_resizing:
            super()._compositor_refresh()
