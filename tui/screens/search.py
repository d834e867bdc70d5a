"""F4: full-text search over all conversations."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from localqwen.chats.query import Hit
from localqwen.chats.store import ChatStoreError, Store
from tui.sanitize import SafeText, safe, safe_line
from tui.screens.form import key_of
from tui.theme import pale
from tui.widgets.fields import LineField

MOST_HITS = 50


class SearchScreen(ModalScreen[Hit | None]):
    """A field, and what is found while it is typed; Enter opens the conversation there.

    Attributes:
        sought: What the hits were found for.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Close", id="dialog.cancel", show=False),
        Binding("down", "highlight(1)", "Next", id="dialog.next", show=False),
        Binding("up", "highlight(-1)", "Previous", id="dialog.previous", show=False),
    ]

    def __init__(self, store: Store, text: SafeText) -> None:
        super().__init__()
        self._store = store
        self._text = text
        self._hits: list[Hit] = []
        self._is_looking = False
        self._opens = False
        self.sought = ""

    def compose(self) -> ComposeResult:
        """The field over the list."""
        with Vertical(classes="dialog wide"):
            yield Static("Search all conversations", classes="dialog-title")
            yield LineField(self._text, placeholder="words", id="search", select_on_focus=False, compact=True)
            yield OptionList(id="hits", markup=False)
            yield Static(self._keys, id="search-hint", classes="dialog-hint", markup=False)

    def on_mount(self) -> None:
        """What was given is looked for at once."""
        self.query_one(OptionList).can_focus = False
        self._look()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Look again."""
        event.stop()
        self._look()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Open the marked one."""
        event.stop()
        if self._is_looking:
            self._opens = True  # what is typed last is not there yet
            return
        self._open()

    def _open(self) -> None:
        at = self.query_one(OptionList).highlighted
        if at is not None and at < len(self._hits):
            self.dismiss(self._hits[at])

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A click opens."""
        event.stop()
        self.dismiss(self._hits[event.option_index])

    def action_highlight(self, step: int) -> None:
        """Mark another one, while the field keeps the keys."""
        hits = self.query_one(OptionList)
        if hits.option_count:
            hits.highlighted = ((hits.highlighted or 0) + step) % hits.option_count

    @property
    def _keys(self) -> SafeText:
        return safe_line(f"{key_of(self, 'dialog.take')} opens, {key_of(self, 'dialog.cancel')} closes")

    def _look(self) -> None:
        self._is_looking, self._opens = True, False
        self._find(self.query_one(Input).value)

    @work(exclusive=True)
    async def _find(self, text: str) -> None:
        try:
            self._hits = await asyncio.to_thread(self._store.search, text, MOST_HITS)
            self.sought = text
            hint = f"{len(self._hits)} found" if self._hits else "nothing found" if text.strip() else ""
        except ChatStoreError as error:
            self._hits, hint = [], safe_line(str(error))
        hits = self.query_one(OptionList)
        hits.clear_options()
        hits.add_options([Option(_row(hit, self.app.theme_variables)) for hit in self._hits])
        hits.highlighted = 0 if self._hits else None
        self._is_looking = False
        if self._opens:
            self._open()
        self.query_one("#search-hint", Static).update(Content(f"{hint} · {self._keys}" if hint else self._keys))


def _row(hit: Hit, variables: Mapping[str, str]) -> Content:
    title = safe_line(hit.title) or "Untitled"
    if hit.message_id is None:
        return Content.assemble((title, "bold"), ("  title", pale(variables, 50)))
    # safe_line() would take the spaces at the pieces' edges.
    rest = pale(variables, 70)
    where = SafeText("  in a file" if hit.is_file else "")
    return Content.assemble(
        (title, "bold"),
        (where, pale(variables, 50)),
        "\n  ",
        *[(_piece(piece), "bold $primary" if found else rest) for piece, found in hit.pieces],
    )


def _piece(text: str) -> SafeText:
    line = safe_line(text)
    lead = " " if text[:1].isspace() else ""
    return safe(f"{lead}{line}{' ' if line and text[-1:].isspace() else ''}")
