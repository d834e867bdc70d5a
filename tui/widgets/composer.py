"""Where a message is typed: Enter sends, Shift+Enter, Alt+Enter and Ctrl+J break the line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.widgets import TextArea

from tui.sanitize import safe


class Composer(TextArea):
    """A text area that grows with its text up to a third of the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", "Send", id="composer.send", show=False),
        # Terminals without the Kitty protocol cannot tell Shift+Enter from Enter; Ctrl+J works in all of them.
        Binding("shift+enter,alt+enter,ctrl+j", "newline", "New line", id="composer.newline", show=False),
    ]

    DEFAULT_CSS = """
    Composer {
        height: auto;
        min-height: 3;
        max-height: 33vh;
    }
    """

    def __init__(self, send: Callable[[str], bool], *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        """``send`` is offered the text and tells whether it took it.

        It is a call and no message, because keys that come right behind Enter belong to the next text.
        """
        self._send = send
        super().__init__(
            id=id,
            soft_wrap=True,
            show_line_numbers=False,
            tab_behavior="focus",
            highlight_cursor_line=False,
            placeholder="Ask anything",
        )

    def action_send(self) -> None:
        """Offer the text for sending."""
        if self.text.strip() and self._send(self.text):
            with self.prevent(self.Changed):
                self.fill("")

    def action_newline(self) -> None:
        """Break the line at the cursor."""
        self.insert("\n", maintain_selection_offset=False)
        self.scroll_cursor_visible()

    # The composer is a few lines high: paging is for the conversation above it.
    async def action_cursor_page_up(self) -> None:  # type: ignore[override]
        """Scroll the conversation instead."""
        await self.run_action("screen.page(-1)")

    async def action_cursor_page_down(self) -> None:  # type: ignore[override]
        """Scroll the conversation instead."""
        await self.run_action("screen.page(1)")

    def fill(self, text: str) -> None:
        """Hold another text, with the cursor at its end."""
        self.load_text(safe(text))
        self.move_cursor(self.document.end)

    async def _on_key(self, event: events.Key) -> None:
        # Textual runs bindings where the key arrives or after it has bubbled up to the app, while characters wait in
        # this widget's queue: in a burst (fast typing, a slow connection, a script) Enter would overtake the text
        # before it. So the composer runs its own bindings itself, in the order of the keys.
        for binding in self._bindings.key_to_bindings.get(event.key, ()):
            if await self.app.run_action(binding.action, self):
                event.stop()
                event.prevent_default()
                return
        await super()._on_key(event)

    async def catch_up(self) -> None:
        """Wait until the keys that have arrived are in the text."""
        done = asyncio.Event()
        self.call_later(done.set)
        await done.wait()

    async def _on_paste(self, event: events.Paste) -> None:
        # Textual shows what is pasted as it is, with its escape sequences.
        await super()._on_paste(events.Paste(safe(event.text.replace("\r\n", "\n").replace("\r", "\n"))))
        event.stop()
        event.prevent_default()
