"""Files that a text names as ``@path`` without having been completed: they go with it all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Protocol

from localqwen.chats.attachment import Attachment
from tui.attachments import AttachmentError, is_within, named_files
from tui.completion import mention_ended
from tui.sanitize import SafeText, safe_line
from tui.widgets.composer.area import Area

READ_SECONDS = 5.0


class Host(Protocol):
    """What the composer knows and does."""

    @property
    def settled(self) -> set[str]:
        """Names of files that are attached, or were taken away."""
        ...

    def attach(self, attachment: Attachment) -> None:
        """Add a file."""
        ...

    def say(self, sentence: SafeText) -> None:
        """Tell the person what went wrong."""
        ...


class NamedFiles:
    """Attaches what is named: when its word has ended, so that it is seen and counted, and before it is sent."""

    def __init__(
        self, host: Host, area: Area, base: Path, start: Callable[[Coroutine[object, object, None]], object]
    ) -> None:
        """``base`` is where paths start; ``start`` runs a coroutine beside the keys."""
        self._host = host
        self._area = area
        self._base = base
        self._start = start
        self._warned: str | None = None

    def follow(self) -> None:
        """Look at the word before the cursor, if a space or a line break has ended it."""
        row, column = self._area.cursor_location
        before = self._area.document.get_line(row)[:column]
        if not before and row:
            before = self._area.document.get_line(row - 1) + "\n"
        if before[-1:].isspace() and mention_ended(before):
            self._start(self._attach(before[before.rindex("@") :]))

    async def before_sending(self, text: str) -> Sequence[Attachment] | None:
        """The files that go with a text beside those that are attached; ``None`` when it is not to be sent so."""
        if "@" not in text:
            return ()
        document = self._area.document
        found, wrong = await self._read(text)
        if self._area.document is not document:
            return None  # another conversation's draft has come meanwhile
        if wrong and text != self._warned:
            self._warned = text
            self._host.say(safe_line(f"{wrong[0]} Send it once more to send the words without the file."))
            return None
        if outside := [safe_line(one.name) for one in found if not is_within(one.name)]:
            # A text that was pasted may name any file: what lies elsewhere goes out only after it was seen.
            for one in found:
                self._host.attach(one)
            names = ", ".join(outside)
            self._host.say(safe_line(f"The text names {names}, which is attached now: send it once more to send both."))
            return None
        settled = self._host.settled  # its word may have ended meanwhile, so that it is attached already
        return tuple(one for one in found if one.name not in settled)

    async def _attach(self, word: str) -> None:
        document = self._area.document
        found, _ = await self._read(word)
        for one in found:
            if self._area.document is document and one.name not in self._host.settled:
                self._host.attach(one)

    async def _read(self, text: str) -> tuple[Sequence[Attachment], Sequence[AttachmentError]]:
        settled = frozenset(self._host.settled)
        try:
            async with asyncio.timeout(READ_SECONDS):
                return await asyncio.to_thread(named_files, text, self._base, settled)
        except TimeoutError:
            sentence = f"A file that the text names could not be read within {READ_SECONDS:.0f} seconds."
            return (), [AttachmentError(sentence)]
