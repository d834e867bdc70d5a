"""Changing a message that was said: its new text becomes a branch beside the old one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from localqwen.errors import LocalqwenError
from tui.sanitize import SafeText, safe_line, without_controls
from tui.screens.drafted import DraftedForm, Save
from tui.widgets.fields import TextField


class EditScreen(DraftedForm[str]):
    """A text in a box; Ctrl+S takes it, Esc leaves everything as it was. Dismissed with a text that is another one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        # Not Enter, which breaks lines here; Ctrl+Enter is unknown to many terminals.
        Binding("ctrl+s,ctrl+enter", "accept", "Accept", id="dialog.accept", show=False, priority=True),
        Binding("ctrl+g", "editor", "Your editor", id="dialog.editor", show=False, priority=True),
    ]

    def __init__(
        self,
        title: SafeText,
        text: str,
        hint: SafeText,
        *,
        files: Sequence[SafeText] = (),
        keep: Callable[[str], Awaitable[object]] | None = None,
        editor: str | None = None,
        draft: str | None = None,
        save: Save | None = None,
    ) -> None:
        """``keep`` commits the text before the dialog goes, so that what cannot be kept is still there.

        It raises :class:`LocalqwenError`. ``files`` go with the message as they are; ``editor`` is the settings'.
        For ``draft`` and ``save`` see :class:`DraftedForm`.
        """
        super().__init__(draft, save)
        self._title = title
        # Bidirectional marks belong to the text; the field shows none of them.
        self._text = without_controls(text)
        self._hint = hint
        self._files = files
        self._keep = keep
        self._editor = editor

    def compose(self) -> ComposeResult:
        """A title, the text, the files, what the keys do."""
        with Vertical(classes="dialog wide"):
            yield Static(self._title, classes="dialog-title", markup=False)
            yield TextField(self._text, id="edit", soft_wrap=True, show_line_numbers=False, compact=True)
            if self._files:
                yield Static(safe_line(f"With {', '.join(self._files)}"), classes="dialog-hint", markup=False)
            yield Static(self._hint, id="edit-hint", classes="dialog-hint", markup=False)

    def on_mount(self) -> None:
        """At the end of the text."""
        self.area.move_cursor(self.area.document.end)

    @property
    def hint(self) -> SafeText:
        """See :class:`DraftedForm`."""
        return self._hint

    def action_accept(self) -> None:
        """Take the new text, if it is one."""
        area = self.area
        if area.read_only:
            return  # it is being kept
        if self.is_unchanged:
            self.dismiss(None)
        elif not area.text.strip() and not self._files:
            self.say(safe_line(f"There is no text: write some, or {self.key('dialog.cancel')} cancels."))
        else:
            area.read_only = True
            self._accept(area.text)

    @work(group="drafts")
    async def _accept(self, text: str) -> None:
        try:
            if self._keep is not None:
                await self._keep(text)
        except LocalqwenError as error:
            self.area.read_only = False
            self.complain(error)
        else:
            self.dismiss(text)

    def action_cancel(self) -> None:
        """Leave, unless the text is being kept."""
        if not self.area.read_only:
            super().action_cancel()

    @work(group="dialogs")
    async def action_editor(self) -> None:
        """Write on in the person's own editor."""
        from tui.editor import EditorError, edit

        area = self.area
        before = area.text
        try:
            after = await edit(self.app, before, configured=self._editor)
        except EditorError as error:
            self.say(safe_line(str(error)))
            return
        if after != before:
            area.replace(after, (0, 0), area.document.end, maintain_selection_offset=False)

    def state(self) -> tuple[object, ...]:
        """See :class:`Form`."""
        return (self.area.text,)

    def say(self, sentence: SafeText) -> None:
        """See :class:`Form`."""
        self.query_one("#edit-hint", Static).update(sentence)
