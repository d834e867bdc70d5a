"""The transcript's widget: paints the lines in view, follows the end, and lets text be selected."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip
from textual.timer import Timer

from tui.widgets.transcript.document import Document
from tui.widgets.transcript.entry import MARGIN, Entry, Look
from tui.widgets.transcript.styles import Styles

# Exact heights are found in slices this long, so that a key never waits for more than one of them.
SLICE_SECONDS = 0.006
SLICE_EVERY_SECONDS = 0.016


class Transcript(ScrollView, can_focus=True):
    """A conversation as lines of text.

    It stays at the end while text arrives, unless the reader has scrolled up.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("home", "scroll_home", "Top", show=False),
        Binding("end", "scroll_end", "End", show=False),
    ]

    DEFAULT_CSS = """
    Transcript {
        height: 1fr;
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
    }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self._document = Document()
        self._settling = False
        self._measuring: Timer | None = None
        self._blank = Strip([])
        self.following = True

    # -- content ---------------------------------------------------------------------------------------------------

    def show(self, entries: Iterable[Entry]) -> None:
        """Show other entries, from their end."""
        self.screen.clear_selection()
        self._document.replace(entries)
        self.following = True
        self._settle()
        self._measure_later()

    def append(self, entry: Entry) -> None:
        """Add an entry and go to the end: something was just said."""
        self._document.append(entry)
        self.following = True
        self._settle()

    def entry_changed(self, entry: Entry) -> None:
        """Lay out an entry again whose text has changed; only the last few ever do."""
        entries = self._document.entries
        for index in range(len(entries) - 1, -1, -1):
            if entries[index] is entry:
                if self._document.look is not None:
                    self._document.measure(index)
                self._settle()
                return

    # -- layout ----------------------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Follow the theme."""
        self.app.theme_changed_signal.subscribe(self, lambda _theme: self._new_look())

    def on_resize(self) -> None:
        """Lay out for another width, keeping the reader's place."""
        look = self._document.look
        if look is None or look.width != self._text_area_width:
            self._new_look()
        else:
            self._settle()

    @property
    def _text_area_width(self) -> int:
        return self.scrollable_content_region.width

    def _new_look(self) -> None:
        if not self._text_area_width:
            return
        document = self._document
        place = self._place()
        look = Look(self._text_area_width, Styles.from_theme(self.app.theme_variables))
        self._blank = Strip([Segment(" " * look.width, look.styles.base)], look.width)
        document.set_look(look)
        if place is not None and not self.following:
            index, fraction = place
            document.measure(index)
            top = document.top(index)
            height = (document.top(index + 1) if index + 1 < len(document.entries) else document.height) - top
            self._set_extent()
            self._scroll_now(top + round(fraction * height))
        self._settle()
        self._measure_later()

    def _place(self) -> tuple[int, float] | None:
        """The entry at the top of the view, and how far into it the view begins."""
        document = self._document
        if document.look is None or not document.entries:
            return None
        y = round(self.scroll_y)
        index = document.at(y)
        bottom = document.top(index + 1) if index + 1 < len(document.entries) else document.height
        return index, (y - document.top(index)) / max(1, bottom - document.top(index))

    def _settle(self) -> None:
        """Measure what is in view, keep the reader's place while heights change, and repaint."""
        document = self._document
        if document.look is None or self._settling:
            return
        self._settling = True
        try:
            height = self.scrollable_content_region.height
            while True:
                self._set_extent()
                if self.following:
                    self._scroll_now(self.max_scroll_y)
                top = round(self.scroll_y)
                if not document.entries:
                    break
                first, last = document.at(top), document.at(top + height)
                unmeasured = [i for i in range(last, first - 1, -1) if document.is_estimate(i)]
                if not unmeasured:
                    break
                self._measure(unmeasured[0])
        finally:
            self._settling = False
        self.refresh()

    def _measure(self, index: int) -> None:
        above = self._document.top(index) < round(self.scroll_y)
        change = self._document.measure(index)
        if change:
            self._set_extent()
            if above and not self.following:
                self._scroll_now(self.scroll_y + change)

    def _measure_later(self) -> None:
        if self._measuring is None and not self._document.is_exact:
            self._measuring = self.set_interval(SLICE_EVERY_SECONDS, self._measure_slice)

    def _measure_slice(self) -> None:
        # A selection is a range of lines: let them be until it is gone.
        if self.text_selection is None:
            end = time.perf_counter() + SLICE_SECONDS
            while (index := self._document.next_unmeasured()) is not None and time.perf_counter() < end:
                self._measure(index)
            self._settle()
        if self._document.is_exact and self._measuring is not None:
            self._measuring.stop()
            self._measuring = None

    def _set_extent(self) -> None:
        self.virtual_size = Size(self._text_area_width, self._document.height)

    def _scroll_now(self, y: float) -> None:
        self.scroll_to(y=y, animate=False, force=True)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Measure what comes into view, and remember whether the reader left the end."""
        super().watch_scroll_y(old_value, new_value)
        if not self._settling:
            self.following = round(new_value) >= self.max_scroll_y
            self._settle()

    # -- painting --------------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One line of the view."""
        look = self._document.look
        if look is None:
            return Strip.blank(self.size.width, self.rich_style)
        y += round(self.scroll_y)
        strip = self._document.line(y)
        if strip is None:
            return self._blank
        selection = self.text_selection
        if selection is not None and (span := selection.get_span(y)) is not None:
            strip = _highlight(strip, *span, look)
        strip = strip.crop_extend(0, look.width, look.styles.base)
        return strip.apply_offsets(0, y)

    # -- selection -------------------------------------------------------------------------------------------------

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text, without the margin and the blanks that fill lines up."""
        start, end = selection
        first = start.y if start is not None else 0
        last = end.y if end is not None else self._document.height - 1
        lines = []
        for y, line in enumerate(self._document.lines(first, last), first):
            span = selection.get_span(y)
            if span is not None:
                left, right = span
                piece = line[max(left, MARGIN) : None if right == -1 else right]
                lines.append(piece.rstrip())
        return "\n".join(lines), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        """Repaint with the new selection."""
        self.refresh()


def _highlight(strip: Strip, start: int, end: int, look: Look) -> Strip:
    text = strip.text
    left = strip.index_to_cell_position(min(max(start, MARGIN), len(text)))
    right = strip.cell_length if end == -1 else strip.index_to_cell_position(min(end, len(text)))
    if right <= left:
        return strip
    before, inside, after = strip.crop(0, left), strip.crop(left, right), strip.crop(right, strip.cell_length)
    painted = [Segment(segment.text, (segment.style or look.styles.base) + look.styles.selection) for segment in inside]
    return Strip.join([before, Strip(painted), after])
