"""What keys, pastes and clicks do in a composer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Self

from textual.actions import SkipAction
from textual.binding import BindingType
from textual.containers import Vertical
from textual.dom import DOMNode
from textual.widgets import TextArea

from localqwen.chats.attachment import Attachment
from localqwen.errors import LocalqwenError
from tui.attachments import Outgoing, pasted
from tui.completion import Command, Literally, Mistake, meaning
from tui.file_index import Files
from tui.history import History
from tui.sanitize import SafeText, safe_line, without_controls
from tui.widgets.chips import Chip, Chips
from tui.widgets.completions import Completions
from tui.widgets.composer.area import Area
from tui.widgets.composer.bindings import BINDINGS
from tui.widgets.composer.draft import Attached
from tui.widgets.composer.named import NamedFiles
from tui.widgets.composer.suggester import PATIENCE_SECONDS, Suggester

LONGEST_PASTE = 16 << 10
# A paste that takes longer than a frame to clean is cleaned beside the event loop.
LONG_TO_CLEAN = 2 << 20


class ComposerKeys(Vertical):
    """The parts of a composer and the actions on them; the area runs these in the order in which keys come."""

    BINDINGS: ClassVar[list[BindingType]] = [*BINDINGS]

    def __init__(
        self,
        send: Callable[[Outgoing], None],
        *,
        history: Callable[[], Awaitable[Sequence[str]]],
        folder: Path | None,
        editor: Callable[[], str | None],
        placeholder: str,
        id: str | None = None,  # noqa: A002 (Textual's name)
    ) -> None:
        super().__init__(id=id)
        self._send = send
        self._editor = editor
        self._load_history = history
        self._earlier: Sequence[str] = ()
        self._history = History(lambda: self._earlier)
        self._attached = Attached()
        self._area = Area(self, id="composer-text", placeholder=placeholder)
        self._chips = Chips()
        self._popup = Completions()
        base = folder or Path.cwd()
        start = partial(self.run_worker, group="completion", exit_on_error=False)
        self._suggester = Suggester(self, self._area, self._popup, Files(base), start)
        start = partial(self.run_worker, group="named files", exit_on_error=False)
        self._named = NamedFiles(self, self._area, base, start)

    # -- what the app is told; a composer says how -------------------------------------------------------------------

    def changed(self) -> None:
        """The person changed the draft."""
        raise NotImplementedError

    def forget_change(self) -> None:
        """What was changed last is no draft any more."""
        raise NotImplementedError

    def run_command(self, name: str, argument: str) -> None:
        """A command was given."""
        raise NotImplementedError

    # -- what the area and the popup tell ----------------------------------------------------------------------------

    @property
    def node(self) -> DOMNode:
        """Whose bindings come first."""
        return self

    @property
    def extra_height(self) -> int:
        """Rows of the border and the chips."""
        return self.gutter.height + self._chips.rows(self.content_size.width)

    @property
    def settled(self) -> set[str]:
        """Names of files that are attached, or were taken away."""
        return self._attached.settled

    def typed(self) -> None:
        """Look at the word at the cursor."""
        if self._attached.marked is not None and self._area.selection.end != (0, 0):
            self._unmark()
        self._suggester.follow()
        self._named.follow()

    def left(self) -> None:
        """Close the popup."""
        self._suggester.close()

    def say(self, sentence: SafeText) -> None:
        """Tell the person what went wrong."""
        self.notify(sentence, severity="warning", timeout=8, markup=False)

    def attach(self, attachment: Attachment, *, joined: bool = False) -> None:
        """Add an attachment, in the place of one with the same name. Its text has no controls.

        With ``joined`` it is undone together with the last edit of the text.
        """
        before = self._attached.chips
        self._attached.add(attachment)
        self._chips_changed(before, joined=joined)

    async def take_paste(self, text: str) -> None:
        """Short text goes in at the cursor, long text becomes an attachment."""
        clean = without_controls(text) if len(text) < LONG_TO_CLEAN else await asyncio.to_thread(without_controls, text)
        if len(clean) > LONGEST_PASTE or len(clean.encode()) > LONGEST_PASTE:
            self.attach(pasted(clean, self._attached.attachments))
        else:
            self._area.type_in(clean)
        self.focus()

    def focus(self, scroll_visible: bool = True) -> Self:
        """Focus the text."""
        self._area.focus(scroll_visible)
        return self

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """The area has told it already, in time."""
        event.stop()

    def on_text_area_selection_changed(self, event: TextArea.SelectionChanged) -> None:
        """The mouse may have moved the cursor."""
        event.stop()
        self.typed()

    def on_completions_chosen(self, event: Completions.Chosen) -> None:
        """A row of the popup was clicked."""
        event.stop()
        # Behind the keys that have come already.
        self._area.call_later(self._suggester.accept, run=True)

    def on_chips_dropped(self, event: Chips.Dropped) -> None:
        """A chip's cross was clicked."""
        event.stop()
        before = self._attached.chips
        self._attached.drop(event.index)
        self._chips_changed(before)
        self.focus()

    # -- keys --------------------------------------------------------------------------------------------------------

    async def action_send(self) -> None:
        """Accept what the popup offers; else run a command, or offer the draft for sending."""
        if self._suggester.is_open and await self._suggester.accept(run=True, only_sure=True):
            return
        typed = self._area.text
        match meaning(typed, self._suggester.commands):
            case Mistake(sentence):
                self.say(safe_line(sentence))
            case Command(name, argument):
                self._sent(typed)
                self.changed()  # a part of the command may have been kept as the draft
                self.run_command(name, argument)
            case Literally(text):
                files = await self._named.before_sending(text)
                if files is None:
                    return
                outgoing = Outgoing(text, (*self._attached.attachments, *files))
                if not outgoing.is_empty:
                    self._send(outgoing)
                    self._attached = Attached()
                    self._sent(typed)

    def action_newline(self) -> None:
        """Break the line at the cursor."""
        self._area.type_in("\n")

    async def action_complete(self) -> None:
        """Put what the popup offers into the text; else go to the conversation."""
        if not await self._suggester.accept(run=False) and not await self.app.run_action("screen.read", self):
            raise SkipAction

    async def action_up(self) -> None:
        """The row above in the popup or in the text; from the first row, the message before."""
        if self._suggester.is_open:
            self._suggester.move(-1)
        elif not self._area.cursor_on_first_row:
            raise SkipAction
        else:
            if not self._history.is_begun:
                await self._look_back()
            if not self._walk(self._history.older, to_end=False):
                raise SkipAction

    def action_down(self) -> None:
        """The row below in the popup or in the text; from the last row, the message behind."""
        if self._suggester.is_open:
            self._suggester.move(1)
        elif not self._area.cursor_on_last_row or not self._walk(self._history.newer, to_end=True):
            raise SkipAction

    def action_dismiss(self) -> None:
        """Close the popup, or leave a marked attachment alone."""
        if self._suggester.is_open:
            self._suggester.dismiss()
        elif self._attached.marked is not None:
            self._unmark()
        else:
            raise SkipAction

    def action_drop(self) -> None:
        """At the very start of the text mark the last attachment, and take it away the second time."""
        area, before = self._area, self._attached.chips
        at_start = area.cursor_location == (0, 0) and area.selection.is_empty
        if not at_start or not self._attached.backspace():
            raise SkipAction
        self._chips_changed(before)

    def action_undo(self) -> None:
        """Take the last step back, of the text or of the attachments."""
        self._area.undo()

    def action_redo(self) -> None:
        """Take the step again that was undone last."""
        self._area.redo()

    async def action_editor(self) -> None:
        """Write on in the person's own editor."""
        from tui.editor import EditorError, edit

        self._suggester.close()
        before = self._area.text
        try:
            after = await edit(self.app, before, configured=self._editor())
        except EditorError as error:
            self.say(safe_line(str(error)))
            return
        if after != before:
            self._area.rewrite(after)
            self._suggester.dismiss()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _sent(self, typed: str) -> None:
        self.forget_change()
        # A draft that waited behind an earlier message has its turn again.
        waiting = self._history.draft or ""
        self._history.add(typed)
        self._put(waiting)
        if waiting:
            self.changed()

    def _put(self, text: str) -> None:
        self._area.load_text(text)
        self._area.move_cursor(self._area.document.end)
        self._suggester.dismiss()
        self._show_chips()

    async def _look_back(self) -> None:
        """Ask what was sent before. The keys behind this one wait for it, but not for a disk that hangs."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                self._earlier = await self._load_history()
        except LocalqwenError as error:
            self.say(safe_line(str(error)))
        except TimeoutError:
            self.say(SafeText("The earlier messages cannot be read at this moment: press Up again."))

    def _walk(self, step: Callable[[str], str | None], *, to_end: bool) -> bool:
        text = step(self._area.text)
        if text is None:
            return False
        self._area.rewrite(text)
        if not to_end:
            # At the end of the first line, from where the next Up goes on.
            self._area.move_cursor((0, len(self._area.document.get_line(0))))
        # An earlier message may be a command or end in a path: nothing is to be completed in it.
        self._suggester.dismiss()
        return True

    def _chips_changed(self, before: tuple[Chip, ...], *, joined: bool = False) -> None:
        """Show the chips, and note the step from ``before`` to them."""
        attached, after = self._attached, self._attached.chips

        def put(chips: tuple[Chip, ...]) -> None:
            attached.put(chips)
            self._show_chips()

        if after != before:
            self._area.note_step(partial(put, before), partial(put, after), joined=joined)
            self.changed()
        self._show_chips()

    def _unmark(self) -> None:
        self._attached.marked = None
        self._show_chips()

    def _show_chips(self) -> None:
        self._chips.show(self._attached.chips, self._attached.marked)
