"""The text of a draft: keys in the order in which they come, and nothing shown that could harm a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from rich.text import Text
from textual import events
from textual.binding import BindingsMap
from textual.dom import DOMNode
from textual.geometry import Size
from textual.widgets import TextArea
from textual.widgets.text_area import Edit, EditResult

from tui.widgets.composer.steps import OutsideStep, Steps
from tui.widgets.fields import shown_line

TALLEST = 3
"""The part of the screen's height that a composer may take: one third."""


class Owner(Protocol):
    """What the area tells its composer, at once and not by messages, which later keys would overtake."""

    @property
    def node(self) -> DOMNode:
        """Whose bindings come before the area's own."""
        ...

    @property
    def extra_height(self) -> int:
        """Rows of the composer that are not text."""
        ...

    def changed(self) -> None:
        """The text was edited."""
        ...

    def typed(self) -> None:
        """A key has done what it does."""
        ...

    async def take_paste(self, text: str) -> None:
        """Something is pasted."""
        ...

    def left(self) -> None:
        """The focus is elsewhere."""
        ...


class Area(TextArea):
    """A text area that grows with its text."""

    DEFAULT_CSS = """
    Area, Area:focus {
        height: auto;
        min-height: 1;
        border: none;
        padding: 0;
        background: transparent;
    }
    """

    def __init__(self, owner: Owner, *, id: str, placeholder: str) -> None:  # noqa: A002 (Textual's name)
        self._owner = owner
        self._keymap: object = None
        self._maps: list[tuple[DOMNode, BindingsMap]] = []
        super().__init__(
            id=id,
            soft_wrap=True,
            show_line_numbers=False,
            tab_behavior="focus",
            highlight_cursor_line=False,
            placeholder=placeholder,
        )
        first = self.history
        self.history: Steps = Steps(first.max_checkpoints, first.checkpoint_timer, first.checkpoint_max_characters)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """All lines, up to a third of the screen for the whole composer."""
        tallest = self.app.size.height // TALLEST - self._owner.extra_height
        return max(1, min(self.virtual_size.height, tallest))

    def get_line(self, line_index: int) -> Text:
        """A line to show. The document may hold bidirectional marks, which are sent but never shown."""
        return shown_line(self.document.get_line(line_index))

    @property
    def cursor_on_first_row(self) -> bool:
        """Whether Up has no row to go to."""
        return self.navigator.is_first_wrapped_line(self.cursor_location)

    @property
    def cursor_on_last_row(self) -> bool:
        """Whether Down has no row to go to."""
        return self.navigator.is_last_wrapped_line(self.cursor_location)

    def note_step(self, undo: Callable[[], None], redo: Callable[[], None], *, joined: bool) -> None:
        """Something beside the text has changed, which undo and redo are to reach in its turn.

        With ``joined`` it is undone together with the last edit of the text.
        """
        self.history.add(OutsideStep(undo, redo), joined=joined)

    def edit(self, edit: Edit) -> EditResult:
        """Edit, and tell the composer."""
        result = super().edit(edit)
        self._owner.changed()
        return result

    def undo(self) -> None:
        """Undo, and tell the composer."""
        super().undo()
        self._owner.changed()

    def redo(self) -> None:
        """Redo, and tell the composer."""
        super().redo()
        self._owner.changed()

    def type_in(self, text: str) -> None:
        """Put text in the selection's place, as typing does."""
        self.replace(text, *self.selection, maintain_selection_offset=False)
        self.scroll_cursor_visible()

    def rewrite(self, text: str) -> None:
        """Put another text in place of all of it, in one step that can be undone; the cursor is at its end."""
        self.history.checkpoint()
        self.replace(text, (0, 0), self.document.end, maintain_selection_offset=False)
        self.history.checkpoint()
        self.scroll_cursor_visible()

    def drop_blank_start(self) -> None:
        """Take the line break away that is left where a command was."""
        if self.document.line_count > 1 and not self.document.get_line(0):
            self.delete((0, 0), (1, 0), maintain_selection_offset=False)

    # The composer is a few lines high: paging is for the conversation above it.
    async def action_cursor_page_up(self) -> None:  # type: ignore[override]
        """Scroll the conversation instead."""
        await self.run_action("screen.page(-1)")

    async def action_cursor_page_down(self) -> None:  # type: ignore[override]
        """Scroll the conversation instead."""
        await self.run_action("screen.page(1)")

    async def action_paste(self) -> None:  # type: ignore[override]
        """Paste what this app copied last, as if the terminal had pasted it."""
        await self._owner.take_paste(self.app.clipboard)

    async def _on_key(self, event: events.Key) -> None:
        # Textual runs bindings where the key arrives or after it has bubbled up to the app, while characters wait in
        # this widget's queue: in a burst (fast typing, a slow connection, a script) Enter would overtake the text
        # before it. So bindings are run here, in the order of the keys.
        for node, bindings in self._binding_maps():
            for binding in bindings.key_to_bindings.get(event.key, ()):
                if await self.app.run_action(binding.action, node):
                    event.stop()
                    event.prevent_default()
                    self._owner.typed()
                    return
        await super()._on_key(event)
        self._owner.typed()

    def _binding_maps(self) -> list[tuple[DOMNode, BindingsMap]]:
        # Remapped keys: Textual applies the keymap to copies of the bindings, and only in its own path. The keymap
        # has no public reader; set_keymap() and update_keymap() put another object in its place.
        keymap = self.app._keymap
        if keymap is not self._keymap:
            self._keymap = keymap
            self._maps = [(node, node._bindings.copy()) for node in (self._owner.node, self)]
            for _, bindings in self._maps:
                bindings.apply_keymap(keymap)
        return self._maps

    async def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        await self._owner.take_paste(event.text)
        self._owner.typed()

    def on_blur(self) -> None:
        """Nothing is completed without the focus."""
        self._owner.left()
