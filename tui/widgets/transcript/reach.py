"""The ends of a selection: what the keys extend, and how they stay on their text when lines move."""

from __future__ import annotations

from collections.abc import Sequence

from textual.geometry import Offset
from textual.screen import Screen
from textual.selection import Selection
from textual.widget import Widget

from tui.widgets.transcript.cursor import Current
from tui.widgets.transcript.document import Document, Move
from tui.widgets.transcript.selecting import extended, moved


class Reach:
    """Where a selection began, and where it is extended."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._anchor = self._head = Offset(0, 0)

    def begin(self, selection: Selection | None, current: Current | None, y: int) -> None:
        """Take up a selection of the mouse; without one begin at what the cursor is on, or at line ``y``."""
        if selection is None:
            document = self._document
            if current is not None:
                y = document.top(current.entry) + current.first
            while y < document.height - 1 and ((line := document.line(y)) is None or line.is_ornament):
                y += 1
            line = document.line(y)
            # A list mark at its beginning belongs to what is selected.
            self._anchor = self._head = Offset(line.start if line is not None and not line.lead else 0, y)
        elif selection != Selection.from_offsets(self._anchor, self._head):
            self._anchor = selection.start or Offset(0, 0)
            self._head = selection.end or Offset(0, self._document.height - 1)

    def after(self, move: str, page: int) -> Offset:
        """Where a movement leads; see :func:`~tui.widgets.transcript.selecting.extended`."""
        return extended(self._document, self._head, move, page)

    def extend(self, move: str, page: int) -> tuple[Selection, int]:
        """Go there; returns what is selected then, and the line of the end that has moved."""
        self._head = self.after(move, page)
        return Selection.from_offsets(self._anchor, self._head), self._head.y

    def moved(self, moves: Sequence[Move]) -> None:
        """Lines have moved."""
        self._anchor, self._head = moved(self._anchor, moves), moved(self._head, moves)


def follow_moves(widget: Widget, moves: Sequence[Move]) -> None:
    """Move what Textual knows of a selection in a widget along with the lines."""
    screen, selection = widget.screen, widget.text_selection
    if selection is None:
        return
    if screen._selecting and screen._select_state is not None:
        # The mouse is down: at its next move Textual reckons with where it went down.
        state = screen._select_state
        start, end = state.start, state.end
        if start.content_widget is widget and start.content_offset is not None:
            start = start._replace(content_offset=moved(start.content_offset, moves))
        if end is not None and end.content_widget is widget and end.content_offset is not None:
            end = end._replace(content_offset=moved(end.content_offset, moves))
        screen.set_reactive(Screen._select_state, state._replace(start=start, end=end))
    ends = [moved(place, moves) if place is not None else None for place in selection]
    if ends != list(selection):
        screen.selections = {**screen.selections, widget: Selection(*ends)}
