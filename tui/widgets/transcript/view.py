"""The transcript: a view of a conversation whose text can be walked through, selected, found and copied."""

from __future__ import annotations

from collections.abc import Iterable
from time import perf_counter
from typing import ClassVar

from textual import events
from textual.actions import SkipAction
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.selection import Selection

from tui.widgets.transcript.base import Entry
from tui.widgets.transcript.copying import copied
from tui.widgets.transcript.cursor import Current, Cursor, Kind
from tui.widgets.transcript.document import Move
from tui.widgets.transcript.find import Found, Search, hits_in, pattern_of
from tui.widgets.transcript.keys import NAVIGATION
from tui.widgets.transcript.line_view import SLICE_SECONDS, LineView
from tui.widgets.transcript.paint import Overlays
from tui.widgets.transcript.reach import Reach, follow_moves
from tui.widgets.transcript.selecting import block_at, word_at

NOTHING = Found(0, 0, True)


class Transcript(LineView, can_focus=True):
    """A conversation as lines of text.

    Its keys move about in it (the :data:`~tui.widgets.transcript.keys.NAVIGATION` table). Shift with a movement key
    selects text: from where the mouse left a selection, or else from the beginning of what the cursor is on, or else
    from the first line in view. What is done with what is selected or current is the screen's business: it gets
    :class:`Copy` and :class:`Switch`, or asks for :attr:`current`.
    """

    class Copy(Message):
        """Text is to be copied."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Switch(Message):
        """Another variant of the message ``key`` is asked for: the one before (-1) or after (1) it."""

        def __init__(self, key: int | None, direction: int) -> None:
            super().__init__()
            self.key = key
            self.direction = direction

    class FoundChanged(Message):
        """A search goes on, has ended, or shows another hit."""

        def __init__(self, found: Found) -> None:
            super().__init__()
            self.found = found

    class Asked(Message):
        """A command about what the cursor is on: one of :data:`tui.commands.COMMANDS`, by its id."""

        def __init__(self, command: str) -> None:
            super().__init__()
            self.command = command

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key, action, label, id=f"transcript.{name}", show=False) for name, key, action, label in NAVIGATION
    ]

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self._cursor = Cursor(self._document)
        self._search: Search | None = None
        self._reach = Reach(self._document)

    def show(self, entries: Iterable[Entry]) -> None:
        """Show other entries, from their end."""
        self._cursor.clear()
        self._search = None
        super().show(entries)

    def append(self, entry: Entry) -> None:
        """Add an entry; who reads further up stays there. It is searched too."""
        super().append(entry)
        if self._search is not None:
            self._search.changed(len(self._document.entries) - 1)
            self._work_later()

    def entry_changed(self, entry: Entry) -> None:
        """Show, soon, an entry whose content has changed."""
        super().entry_changed(entry)
        index = self._document.index(entry) if self._search is not None else None
        if self._search is not None and index is not None:
            self._search.changed(index)
            self._work_later()

    # -- cursor ----------------------------------------------------------------------------------------------------

    @property
    def current(self) -> Current | None:
        """What the cursor is on; ``None`` when it is nowhere."""
        return self._cursor.current

    @property
    def seen(self) -> Current | None:
        """What the cursor is on, where any of it is in view: what acts on a message must not surprise who reads."""
        current = self.current
        return current if current is not None and self.shows(current.entry, current.first, current.end) else None

    def current_code(self) -> Current | None:
        """The code block that the cursor is on; without one there, the last one of the conversation."""
        current = self.current
        return current if current is not None and current.block == "code" else self._cursor.last_code()

    def current_text(self) -> str | None:
        """The original of what is selected, or else of what the cursor is on, but for control characters."""
        if self.text_selection is not None:
            return copied(self._document, self.text_selection)
        return self.current.text if self.current is not None else None

    def move(self, direction: int, kind: Kind) -> bool:
        """Move the cursor to the next (1) or previous (-1) message, block or code block, and show it.

        Returns:
            Whether there was one.
        """
        top = round(self.scroll_y)
        if not self._cursor.move(direction, kind, top, top + self.size.height - 1):
            return False
        self._show_cursor()
        return True

    def go_to(self, key: int) -> bool:
        """Put the cursor on the message ``key``, and show it; says whether it is there."""
        index = next((at for at, entry in enumerate(self._document.entries) if entry.key == key), None)
        if index is None or self._document.look is None:
            return False
        self._cursor.go_to(index)
        self._show_cursor()
        return True

    def _show_cursor(self) -> None:
        current = self.current
        assert current is not None
        self._reveal_entry(current.entry, current.first, current.end)
        self.refresh()

    def clear_cursor(self) -> None:
        """Have the cursor nowhere."""
        if self._cursor.current is not None:
            self._cursor.clear()
            self.refresh()

    def _reveal_entry(self, index: int, first: int, end: int) -> None:
        """Scroll as little as shows these lines of an entry, from their beginning if they are too many."""
        self._measure(index)
        # Measuring what comes into view may move what is below it: look once more.
        for _ in range(2):
            top = self._document.top(index)
            self._reveal(top + first, top + end)

    def _reveal(self, first: int, end: int) -> None:
        height = self.scrollable_content_region.height
        top = round(self.scroll_y)
        if first < top or end - first >= height:
            self.following = False
            self._scroll_now(max(0, first - (first > 0)))
        elif end > top + height:
            self._scroll_now(min(self.max_scroll_y, end - height + 1))

    def action_move(self, direction: int, kind: Kind) -> None:
        """Move the cursor."""
        self.move(direction, kind)

    def action_leave(self) -> None:
        """Let go of what is selected, found or current; with nothing of it, the key is the screen's."""
        if self.text_selection is not None:
            self.screen.clear_selection()
        elif self._search is not None:
            self.post_message(self.FoundChanged(self.find("")))
        elif self.current is not None:
            self.clear_cursor()
        else:
            raise SkipAction

    # -- selection -------------------------------------------------------------------------------------------------

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text as it was written: no margins, no newlines of soft wraps, tabs as tabs."""
        return copied(self._document, selection), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        """Repaint with the new selection."""
        self.refresh()

    def action_select(self, move: str) -> None:
        """Extend the selection by a movement."""
        if self._document.look is None or not self._document.entries:
            return
        page = max(1, self.size.height - 2)
        self._reach.begin(self.text_selection, self.current, round(self.scroll_y))
        while self._document.is_estimate(index := self._document.at(self._reach.after(move, page).y)):
            # Known before it is counted in, or what is there would be another line a moment later.
            self._measure(index)
        selection, y = self._reach.extend(move, page)
        self.screen.selections = {self: selection}
        self._reveal(y, y + 1)

    def _moved(self, moves: Iterable[Move]) -> None:
        """Keep a selection on its text."""
        if moves := list(moves):
            self._reach.moved(moves)
            follow_moves(self, moves)

    def action_copy(self) -> None:
        """Ask for a copy of what is selected, or else of what the cursor is on."""
        text = self.current_text()
        if text is None:
            raise SkipAction
        if text:
            self.post_message(self.Copy(text))

    def action_ask(self, command: str) -> None:
        """Leave to the screen what is more than reading."""
        self.post_message(self.Asked(command))

    def on_click(self, event: events.Click) -> None:
        """The arrows beside a message's variants; two clicks select a word, three a block."""
        if event.chain > 1:
            # Textual would select the whole conversation.
            event.prevent_default()
            _, place = self.screen.get_widget_and_offset_at(event.screen_x, event.screen_y)
            if place is not None:
                selection = word_at(self._document, place) if event.chain == 2 else block_at(self._document, place.y)
                self.screen.selections = {self: selection} if selection is not None else {}
        if (switch := event.style.meta.get("switch")) is not None:
            event.stop()
            self.post_message(self.Switch(*switch))

    # -- find ------------------------------------------------------------------------------------------------------

    @property
    def found(self) -> Found:
        """What the search has found so far."""
        return self._search.found if self._search is not None else NOTHING

    def find(self, words: str) -> Found:
        """Search all entries for words, from the cursor on or else from what is in view; no words end a search.

        It goes on in slices: :class:`FoundChanged` comes while it does. Upper-case letters make it respect case.
        """
        self._search = None
        if words.strip() and self._document.look is not None and self._document.entries:
            current = self.current
            near = current.entry if current is not None else self._document.at(round(self.scroll_y))
            self._search = Search(self._document, words.strip(), near)
            self._search.work(perf_counter() + SLICE_SECONDS)
            if self._search.current is not None:
                self._show_hit()
            self._work_later()
        self.refresh()
        return self.found

    def rarest(self, candidates: Iterable[str]) -> str:
        """Which words are in what the cursor is on, but the least often; the first ones of several, or ``""``."""
        current = self.current
        if current is None:
            return ""
        lines = self._document.lines_of(current.entry)
        counts = {words: len(hits_in(lines, pattern_of(words))) for words in candidates if words}
        return min((words for words, count in counts.items() if count), key=counts.__getitem__, default="")

    @property
    def is_searching(self) -> bool:
        """Whether a search goes on, or has found all it could."""
        return self._search is not None

    def find_next(self, direction: int = 1) -> Found:
        """Show the next (1) or previous (-1) hit, and round the end."""
        if self._search is not None and self._search.step(direction):
            self._show_hit()
            self.refresh()
            self.post_message(self.FoundChanged(self.found))
        return self.found

    def action_find(self, direction: int) -> None:
        """Show another hit; without a search the key is the screen's."""
        if self._search is None:
            raise SkipAction
        self.find_next(direction)

    def _show_hit(self) -> None:
        assert self._search is not None
        assert self._search.current is not None
        index, number = self._search.current
        hit = next((hit for hit in self._search.hits(index) if hit.number == number), None)
        if hit is not None:
            self.following = False
            self._reveal_entry(index, hit.line, hit.line + 1)

    def _more_work(self, deadline: float) -> bool:
        search = self._search
        if search is None or search.found.is_complete:
            return False
        before = search.current
        search.work(deadline)
        if before is None and search.current is not None:
            self._show_hit()
        self.refresh()
        self.post_message(self.FoundChanged(search.found))
        return not search.found.is_complete

    # -- painting --------------------------------------------------------------------------------------------------

    def _overlays(self, y: int) -> Overlays:
        overlays = super()._overlays(y)
        current, search = self.current, self._search
        if current is None and search is None:
            return overlays
        index = self._document.at(y)
        offset = y - self._document.top(index)
        is_marked = current is not None and current.entry == index and current.first <= offset < current.end
        hits = [hit for hit in search.hits(index) if hit.line == offset] if search is not None else []
        number = search.current[1] if search is not None and search.current and search.current[0] == index else -1
        return Overlays(overlays.selected, is_marked, tuple((h.begin, h.end, h.number == number) for h in hits))
