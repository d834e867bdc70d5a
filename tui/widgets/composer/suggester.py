"""What the popup offers for the word at the cursor, and what accepting it does.

Files are looked for in a thread, one look at a time, so that no key waits for a slow disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Protocol, TypeAlias

from localqwen.chats.attachment import Attachment
from tui.attachments import AttachmentError, read_attachment
from tui.completion import Match, SlashItem, Word, commands_for, is_sure, paths_for, word_at
from tui.file_index import Files
from tui.sanitize import SafeText, safe, safe_cells, safe_line
from tui.widgets.completions import Completions, Suggestion
from tui.widgets.composer.area import Area

MOST_SUGGESTIONS = 50
# A key that accepts waits so long for what it accepts; other keys never wait.
PATIENCE_SECONDS = 1.0
READ_SECONDS = 5.0

Choice: TypeAlias = SlashItem | str


class Host(Protocol):
    """What the composer does with what is accepted."""

    def attach(self, attachment: Attachment, *, joined: bool) -> None:
        """Add a file; ``joined`` is undone together with the last edit of the text."""
        ...

    def run_command(self, name: str, argument: str) -> None:
        """Tell the app."""
        ...

    def say(self, sentence: SafeText) -> None:
        """Tell the person what went wrong."""
        ...


class Suggester:
    """Follows the word at the cursor."""

    def __init__(
        self,
        host: Host,
        area: Area,
        popup: Completions,
        files: Files,
        start: Callable[[Coroutine[object, object, None]], object],
    ) -> None:
        """``start`` runs a coroutine beside the keys."""
        self.commands: Sequence[SlashItem] = ()
        self._host = host
        self._area = area
        self._popup = popup
        self._files = files
        self._start = start
        self._word: Word | None = None
        self._row = 0
        self._choices: Sequence[Choice] = ()
        self._dismissed: tuple[int, int] | None = None
        self._is_settled = asyncio.Event()
        self._is_settled.set()

    @property
    def is_open(self) -> bool:
        """Whether the popup is shown."""
        return self._popup.is_open

    def follow(self) -> None:
        """Look at the word at the cursor; another one brings other suggestions."""
        word, row = self._word_at_cursor()
        if word is None:
            self.close()
            self._dismissed = None
        elif (row, word.start) != self._dismissed and (word, row) != (self._word, self._row):
            self._word, self._row = word, row
            if word.kind == "command":
                self._show_commands(word)
            elif isinstance(word.offers, tuple):
                self._show_strings(paths_for(word.query, word.offers))
            elif self._is_settled.is_set():
                self._is_settled.clear()
                self._start(self._look_for_files())

    def close(self) -> None:
        """Offer nothing until the word is another one."""
        self._word, self._choices = None, ()
        self._popup.show(())

    def dismiss(self) -> None:
        """Close the popup and let it stay closed for the word at the cursor: it was put there, or is right as it is."""
        word, row = self._word_at_cursor()
        self._dismissed = None if word is None else (row, word.start)
        self.close()

    def move(self, step: int) -> None:
        """Choose another row."""
        self._popup.move(step)

    async def accept(self, *, run: bool, only_sure: bool = False) -> bool:
        """Put what is chosen in the word's place; with ``run`` a command without an argument is run at once.

        With ``only_sure``, what was not chosen by moving to it has to be what was typed, or to have it in it.
        ``False`` when nothing is offered, or nothing so sure.
        """
        await self._settle()
        word, row = self._word, self._row
        if word is None or not self._choices:
            return False
        choice = self._choices[self._popup.index]
        if only_sure and not self._popup.was_moved:
            names = choice.names if isinstance(choice, SlashItem) else (choice,)
            # What is typed behind a command's name is a whole already.
            if word.kind == "argument" or not any(is_sure(word.query, name) for name in names):
                return False
        match choice:
            case SlashItem(name, _, None) if run:
                self._put(word, row, "")
                self._area.drop_blank_start()
                self.close()
                self._host.run_command(name, "")
            case SlashItem(name, _, argument):
                self._put(word, row, f"/{name} " if argument else f"/{name}")
                self.dismiss()
            case str(argument) if word.kind == "argument":
                self._put(word, row, argument)
                if not argument.endswith("/"):
                    self.dismiss()
            case str(path) if path.endswith("/"):
                self._put(word, row, f'@"{path}' if " " in path else f"@{path}")
            case path:
                await self._attach(word, row, path)
        return True

    async def _settle(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._is_settled.wait()

    async def _attach(self, word: Word, row: int, path: str) -> None:
        self.dismiss()
        document = self._area.document
        try:
            async with asyncio.timeout(READ_SECONDS):
                attachment = await asyncio.to_thread(read_attachment, path, self._files.base)
        except AttachmentError as error:
            self._host.say(safe_line(str(error)))
        except TimeoutError:
            self._host.say(safe_line(f"{path} could not be read within {READ_SECONDS:.0f} seconds."))
        else:
            # Another conversation's draft may have come meanwhile: the file is not for that.
            if self._area.document is document:
                self._area.history.checkpoint()
                self._put(word, row, "")
                self._host.attach(attachment, joined=True)

    def _put(self, word: Word, row: int, text: str) -> None:
        line = self._area.document.get_line(row)
        end = word.end
        if not text and line[: word.start][-1:] in {"", " "} and line[end : end + 1] == " ":
            end += 1
        self._area.replace(text, (row, word.start), (row, end), maintain_selection_offset=False)

    def _word_at_cursor(self) -> tuple[Word | None, int]:
        row, column = self._area.cursor_location
        if not self._area.selection.is_empty:
            return None, row
        return word_at(self._area.document.get_line(row), column, row, self.commands), row

    def _show_commands(self, word: Word) -> None:
        found = commands_for(word.query, self.commands)
        self._choices = [item for item, _ in found]
        self._popup.show([_command_row(item, match.positions) for item, match in found])

    def _show_strings(self, found: Sequence[tuple[str, Match]]) -> None:
        self._choices = [name for name, _ in found]
        self._popup.show([Suggestion(safe_cells(name), match.positions) for name, match in found])

    async def _look_for_files(self) -> None:
        # Keys come faster than looks are done: only the last word is looked for then.
        done: Word | None = None
        try:
            while (word := self._word) is not None and word.kind != "command" and word != done:
                if isinstance(word.offers, tuple):
                    break  # they were shown at once
                look = self._files.find if word.offers == "files" else self._files.find_folders
                found = await asyncio.to_thread(look, word.query, MOST_SUGGESTIONS)
                done = word
                if word == self._word:
                    self._show_strings(found)
        finally:
            self._is_settled.set()


def _command_row(item: SlashItem, positions: tuple[int, ...]) -> Suggestion:
    argument = f" {safe_line(item.argument)}" if item.argument else ""
    label = safe(f"/{safe_line(item.name)}{argument}")
    return Suggestion(label, tuple(at + 1 for at in positions), safe_line(item.help))
