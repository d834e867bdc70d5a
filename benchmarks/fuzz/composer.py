"""Sources whose strings come into the composer."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import cycle
from pathlib import Path

from textual.widgets import TextArea

from benchmarks.fuzz.app import Fuzz, portions
from benchmarks.fuzz.transcript import message, transfer
from localqwen.chats.attachment import Attachment
from tui.attachments import Outgoing
from tui.widgets.completions import Completions


async def pastes(fuzz: Fuzz, count: int) -> None:
    """Pastes, shown in the composer."""
    composer = fuzz.desk.composer
    composer.focus()
    await fuzz.painted()
    for portion in portions(count, 30):
        composer.fill("")
        await fuzz.paste(" ".join(fuzz.strings("C1", portion)))
        await fuzz.walk(fuzz.app.chat.query_one("#composer-text"))
    composer.fill("")


async def sent_pastes(fuzz: Fuzz, count: int) -> None:
    """Pastes, byte by byte as a terminal sends them."""
    composer = fuzz.desk.composer
    composer.focus()
    await fuzz.painted()
    for portion in portions(count, 30):
        composer.fill("")
        text = " ".join(fuzz.strings("C5", portion)).encode("utf-8", "surrogatepass")
        fuzz.type(b"\x1b[200~" + text + b"\x1b[201~")
        await fuzz.until(lambda: composer.draft.text or composer.draft.attachments)
        await fuzz.painted()
        await fuzz.walk(fuzz.app.chat.query_one("#composer-text"))
    composer.fill("")


async def drafts(fuzz: Fuzz, count: int) -> None:
    """Drafts and the files beside them, as they come back."""
    composer = fuzz.desk.composer
    for portion in portions(count // 2, 8):
        files = [Attachment(name, name) for name in fuzz.lines("C3", portion)]
        composer.fill(" ".join(fuzz.strings("C2", portion)), files)
        await fuzz.painted()
        await fuzz.walk(fuzz.app.chat.query_one("#composer-text"))
    composer.fill("")


async def recalled(fuzz: Fuzz, count: int) -> None:
    """Messages that were sent before, one after the other with the arrow."""
    composer = fuzz.desk.composer
    for portion in portions(count, 30):
        said = [message(number, "user", text) for number, text in enumerate(fuzz.strings("C7", portion), 1)]
        chat = await asyncio.to_thread(fuzz.store.add, transfer("Sent", said))
        composer.fill("")
        composer.focus()
        area = fuzz.app.chat.query_one("#composer-text", TextArea)
        for _ in range(portion):
            area.move_cursor((0, 0))  # a first line may take several rows
            await composer.action_up()
            await fuzz.painted()
            await fuzz.walk(area)
        composer.fill("")
        await asyncio.to_thread(fuzz.store.delete, chat.id)


async def edited(fuzz: Fuzz, count: int) -> None:
    """What comes back from the person's editor; lending it the terminal is left out, which is nobody's text."""
    composer, saved = fuzz.desk.composer, Path("saved.txt")
    os.environ["VISUAL"] = f"cp {saved}"  # in the fuzz's own folder
    fuzz.app.suspend = nullcontext  # type: ignore[assignment, method-assign]
    for portion in portions(count, 30):
        text = " ".join(fuzz.strings("C8", portion))
        await asyncio.to_thread(saved.write_bytes, text.encode("utf-8", "replace"))
        composer.fill("")
        await composer.action_editor()
        await fuzz.painted()
        await fuzz.walk(fuzz.app.chat.query_one("#composer-text"))
    composer.fill("")
    del fuzz.app.suspend


def make_files(folder: str, names: Sequence[str], texts: Sequence[str] = ("",)) -> None:
    """A folder of files that are called almost so."""
    Path(folder).mkdir()
    for name, text in zip(names, cycle(texts), strict=False):
        # What no file is called: a slash, a NUL, more than 255 bytes. Halves of characters are bytes that are no UTF-8.
        plain = os.fsencode(re.sub("[/\0\ud800-\udfff]", "\udc9b", name))[:200]
        (Path(folder) / os.fsdecode(plain)).write_bytes(text.encode("utf-8", "surrogatepass"))


async def completions(fuzz: Fuzz, count: int) -> None:
    """Names of files, offered after an @."""
    composer, popup = fuzz.desk.composer, fuzz.app.chat.query_one(Completions)
    for number, portion in enumerate(portions(count, 40)):
        folder = f"folder{number}"
        await asyncio.to_thread(make_files, folder, fuzz.lines("C4", portion))
        composer.fill("")
        composer.insert(f"@{folder}/")
        await fuzz.until(lambda: popup.is_open)
        for _ in range(portion // 8 + 1):
            popup.move(8)
            await fuzz.painted()
    composer.fill("")


async def attached(fuzz: Fuzz, count: int) -> None:
    """Files that are attached, or cannot be."""
    composer, popup = fuzz.desk.composer, fuzz.app.chat.query_one(Completions)
    for number, portion in enumerate(portions(count // 2, 6)):
        folder = f"attached{number}"
        await asyncio.to_thread(make_files, folder, fuzz.lines("C6", portion), fuzz.strings("C6", portion))
        composer.fill("")
        for at in range(portion):
            composer.insert(f" @{folder}/")
            await fuzz.until(lambda: popup.is_open)
            popup.move(at)
            await composer.action_complete()
            await fuzz.painted()
        fuzz.desk.send(Outgoing("x", composer.draft.attachments))
        await fuzz.painted()
        await fuzz.clear_toasts()
    composer.fill("")
