"""Entries as a widget: paints the lines in view, follows the end, and keeps the reader's place."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic, perf_counter, thread_time
from typing import cast

from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from tui.later import Later
from tui.widgets.transcript.base import Entry, Look
from tui.widgets.transcript.document import Document, Move
from tui.widgets.transcript.pacing import Pacer
from tui.widgets.transcript.paint import Highlighter, Overlays, Painter
from tui.widgets.transcript.scroll_bar import SteadyScrollBar
from tui.widgets.transcript.styles import Styles

# Exact heights, hits and colours are found in slices this long, so that a key never waits for more than one of them.
SLICE_SECONDS = 0.006
SLICE_EVERY_SECONDS = 0.010
# New heights move everything in view, which is painted again then.
HEIGHTS_EVERY_SECONDS = 0.3


class LineView(ScrollView):
    """Entries one below another. It stays at the end while text arrives, unless the reader has scrolled up."""

    DEFAULT_CSS = """
    LineView {
        height: 1fr;
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
    }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self._document = Document()
        self._painter = Painter(self._document)
        self._highlighter = Highlighter()
        self._theme: dict[str, str] = {}
        self._settling = False
        self._heights_at = 0.0
        self._pacer = Pacer()
        self._changed: list[Entry] = []
        self._frame = Later(self, self._show_changed)
        self._worker: Timer | None = None
        self.following = True

    @property
    def vertical_scrollbar(self) -> SteadyScrollBar:
        """The scroll bar, which is always there."""
        if self._vertical_scrollbar is None:
            self._vertical_scrollbar = SteadyScrollBar(thickness=self.scrollbar_size_vertical)
            self._vertical_scrollbar.display = False
            self.app._start_widget(self, self._vertical_scrollbar)
        return cast("SteadyScrollBar", self._vertical_scrollbar)

    # -- content ---------------------------------------------------------------------------------------------------

    def show(self, entries: Iterable[Entry]) -> None:
        """Show other entries, from their end."""
        self.screen.clear_selection()
        self._document.replace(entries)
        self.following = True
        self._settle()
        self._work_later()

    def append(self, entry: Entry) -> None:
        """Add an entry; who reads further up stays there."""
        self._document.append(entry)
        self._settle()
        # Out of view its height is an estimate still.
        self._work_later()

    def follow(self) -> None:
        """Go to the end, and stay there as entries come: the person has just said something."""
        self.following = True
        self._settle()

    def drop_last(self, count: int) -> None:
        """Take the last entries away."""
        for _ in range(count):
            self._document.drop_last()
        self._settle()

    def entry_changed(self, entry: Entry) -> None:
        """Show, soon, an entry whose content has changed: at most thirty times a second, and seldomer if it is dear."""
        if entry not in self._changed:
            self._changed.append(entry)
        wait = self._pacer.wait(monotonic(), entry.unpainted)
        if wait <= 0:
            self._show_changed()
        else:
            self._frame.set(wait)

    def _show_changed(self) -> None:
        self._frame.cancel()
        self._pacer.begin(monotonic())
        begin = thread_time()
        for entry in self._changed:
            self._lay_out(entry)
        self._changed.clear()
        # What the screen needs for painting belongs to the cost.
        self.call_after_refresh(lambda: self._pacer.end(thread_time() - begin))

    def _lay_out(self, entry: Entry) -> None:
        document = self._document
        index = document.index(entry)
        if index is None or document.look is None:
            return
        end = document.top(index + 1)
        grew = document.measure(index)
        if grew:
            self._moved([(end, grew)])
            self._settle(repaint=False)
        # Only what has changed is painted; Textual paints everything anyway where this has scrolled.
        top, height = round(self.scroll_y), self.size.height
        first = max(document.top(index) + entry.changed_from, top)
        last = top + height if grew else min(document.top(index + 1), top + height)
        if first < last:
            self.refresh_lines(first, last - first)

    def shows(self, index: int, first: int, end: int) -> bool:
        """Whether any of these lines of an entry is in view."""
        top, above = round(self.scroll_y), self._document.top(index)
        return above + first < top + self.scrollable_content_region.height and above + end > top

    @property
    def is_exact(self) -> bool:
        """Whether the scroll bar is exact: no entry's height is an estimate any more."""
        return self._document.is_exact

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to do: text is shown, heights are exact, code is coloured, a search has ended."""
        return self._worker is None and not self._changed

    # -- layout ----------------------------------------------------------------------------------------------------

    def notify_style_update(self) -> None:
        """Follow the theme with everything else: its signal comes later, after a frame that is half in the old one."""
        super().notify_style_update()
        if self._document.look is not None and self._theme is not self.app.theme_variables:
            self._new_look()

    def on_resize(self) -> None:
        """Lay out for another width, keeping the reader's place."""
        look = self._document.look
        if look is None or look.width != self._text_area_width or self._theme is not self.app.theme_variables:
            self._new_look()
        else:
            self._settle()

    @property
    def _text_area_width(self) -> int:
        return self.scrollable_content_region.width

    def _new_look(self) -> None:
        if not self._text_area_width:
            return
        self._theme = self.app.theme_variables
        document = self._document
        place = self._place()
        if document.look is None or document.look.width != self._text_area_width:
            # A selection is a range of lines, and they are others now.
            self.screen.clear_selection()
        document.set_look(Look(self._text_area_width, Styles.from_theme(self.app.theme_variables)))
        if place is not None and not self.following:
            index, fraction = place
            document.measure(index)
            top = document.top(index)
            self._set_extent()
            self._scroll_now(top + round(fraction * (document.top(index + 1) - top)))
        self._settle()
        self._work_later()

    def _place(self) -> tuple[int, float] | None:
        """The entry at the top of the view, and how far into it the view begins."""
        document = self._document
        if document.look is None or not document.entries:
            return None
        y = round(self.scroll_y)
        index = document.at(y)
        top = document.top(index)
        return index, (y - top) / max(1, document.top(index + 1) - top)

    def _settle(self, *, repaint: bool = True) -> None:
        """Measure what is in view, keep the reader's place while heights change, and repaint."""
        document = self._document
        if document.look is None or self._settling:
            return
        self._settling = True
        try:
            with self.vertical_scrollbar.held():
                self._measure_in_view()
        finally:
            self._settling = False
        if repaint:
            self.refresh()

    def _measure_in_view(self) -> None:
        document = self._document
        height = self.scrollable_content_region.height
        while True:
            self._set_extent()
            if self.following:
                self._scroll_now(self.max_scroll_y)
            top = round(self.scroll_y)
            if not document.entries:
                return
            first, last = document.at(top), document.at(top + height)
            unmeasured = [i for i in range(last, first - 1, -1) if document.is_estimate(i)]
            if not unmeasured:
                return
            self._measure(unmeasured[0])

    def _measure(self, index: int) -> None:
        above = self._document.top(index) < round(self.scroll_y)
        end = self._document.top(index + 1)
        change = self._document.measure(index)
        if change:
            self._moved([(end, change)])
            self._set_extent()
            if above and not self.following:
                self._scroll_now(self.scroll_y + change)

    def _moved(self, moves: Iterable[Move]) -> None:
        """Whoever remembers lines by their numbers follows them here."""

    def _set_extent(self) -> None:
        size = Size(self._text_area_width, self._document.height)
        if size != self.virtual_size:
            # The scroll bar is always there, so a new height moves no widget: Textual need not lay out the screen.
            self.set_reactive(Widget.virtual_size, size)
            self.vertical_scrollbar.window_virtual_size = size.height

    def _scroll_now(self, y: float) -> None:
        if y != self.scroll_y:
            self.scroll_to(y=y, animate=False, force=True)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Measure what comes into view, and remember whether the reader left the end."""
        super().watch_scroll_y(old_value, new_value)
        if not self._settling:
            self.following = round(new_value) >= self.max_scroll_y
            self._settle()

    # -- work in slices --------------------------------------------------------------------------------------------

    def _work_later(self) -> None:
        if self._worker is None:
            self._worker = self.set_interval(SLICE_EVERY_SECONDS, self._work)

    def _work(self) -> None:
        end = perf_counter() + SLICE_SECONDS
        if self._highlighter.work(end):
            self.refresh()
        if not self._document.is_exact:
            is_left = self._document.find_heights(end)
            if not is_left or monotonic() - self._heights_at > HEIGHTS_EVERY_SECONDS:
                self._take_heights()
        is_busy = self._more_work(end)
        if self._document.is_exact and not is_busy and not self._highlighter.is_busy and self._worker is not None:
            self._worker.stop()
            self._worker = None

    def _take_heights(self) -> None:
        """Let heights count that were found, and keep what is in view where it is."""
        document = self._document
        self._heights_at = monotonic()
        top = round(self.scroll_y)
        index = document.at(top)
        offset = top - document.top(index)
        self._moved(document.take_heights())
        self._set_extent()
        if not self.following:
            self._scroll_now(document.top(index) + offset)
        self._settle(repaint=False)

    def _more_work(self, deadline: float) -> bool:
        """Other work until ``deadline``; says whether there is more of it."""
        return False

    # -- painting --------------------------------------------------------------------------------------------------

    def render_lines(self, crop: Region) -> list[Strip]:
        """Lines of the view, straight from the painter.

        Textual would put a border and padding around each, which there are none of, and keep the result by its place in
        the view: after a new line at the end everything would be made anew, though it only moves. The painter's strips
        stay with their lines, and with them what Textual keeps of a strip: its pieces, its colours, its bytes.
        """
        strips = [self.render_line(y) for y in crop.line_range]
        look, width = self._document.look, self._text_area_width
        if look is not None and look.width != width:
            # Painted between another size and the event that tells of it: as before, until then.
            strips = [strip.adjust_cell_length(width, look.styles.base) for strip in strips]
        _, background = self.background_colors
        for line_filter in self.get_line_filters():
            strips = [strip.apply_filter(line_filter, background) for strip in strips]
        if crop.x or crop.right < self.size.width:
            strips = [strip.crop(crop.x, crop.right) for strip in strips]
        return strips

    def render_line(self, y: int) -> Strip:
        """One line of the view."""
        look = self._document.look
        if look is None:
            return Strip.blank(self.size.width, self.rich_style)
        y += round(self.scroll_y)
        line = self._document.line(y)
        if line is not None and self._highlighter.wants(line):
            self._work_later()
        return self._painter.paint(line, y, self._overlays(y))

    def _overlays(self, y: int) -> Overlays:
        """What is painted over a line."""
        selection = self.text_selection
        return Overlays(selection.get_span(y) if selection is not None else None)
