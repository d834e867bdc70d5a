"""Sources whose strings come into the transcript."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.fuzz.app import Fuzz, portions
from localqwen.chats.attachment import Attachment
from localqwen.chats.transfer import Transfer
from localqwen.chats.tree import Message
from localqwen.events import Finished
from localqwen.params import SamplingParams

COPIES = "answers that are copied"
PER_MESSAGE, PER_CHAT = 100, 4_000


def transfer(title: str, messages: Sequence[Message]) -> Transfer:
    """A conversation to be kept."""
    now = time.time()
    return Transfer(title, now, now, "", SamplingParams(), tuple(messages), len(messages) or None)


def message(number: int, role: str, text: str, **more: object) -> Message:
    """The ``number``-th message of a straight path."""
    base = Message(number, 0, number - 1 or None, "user", text, "done", time.time())
    return replace(base, role=role, **more)  # type: ignore[arg-type]


async def streamed(fuzz: Fuzz, count: int) -> None:
    """Answers as they come."""
    for portion in portions(count, 400):
        fuzz.desk.show(fuzz.desk.blank())
        await fuzz.ask(fuzz.text("A1", portion))
        await fuzz.walk(fuzz.desk.transcript)


async def failed(fuzz: Fuzz, count: int) -> None:
    """Errors that a server sends."""
    for portion in portions(count, 20):
        fuzz.desk.show(fuzz.desk.blank())
        fuzz.model.address = "http://x"  # our own server's death would be waited for
        for error in fuzz.lines("A4", portion):
            await fuzz.ask("x", Finished("error", error=error))
    fuzz.model.address = None


async def _opened(fuzz: Fuzz, transfer_: Transfer) -> None:
    chat = await asyncio.to_thread(fuzz.store.add, transfer_)
    await fuzz.desk.open(chat.id)
    await fuzz.walk(fuzz.desk.transcript)
    fuzz.desk.show(fuzz.desk.blank())
    await asyncio.to_thread(fuzz.store.delete, chat.id)


async def opened(fuzz: Fuzz, count: int) -> None:
    """Long conversations that were kept: three quarters are answers, a quarter what was typed."""
    for portion in portions(count, PER_CHAT):
        said = [
            message(number, "assistant", fuzz.text("A2", part), model="model")
            if number % 4
            else message(number, "user", fuzz.text("A3", part))
            for number, part in enumerate(portions(portion, PER_MESSAGE), 1)
        ]
        await _opened(fuzz, transfer("Long", said))


async def labels(fuzz: Fuzz, count: int) -> None:
    """Names of models, of files, and errors, as they were kept: three strings and two names for each answer."""
    for portion in portions(count // 5, 400):
        said = []
        for number in range(1, 2 * portion, 2):
            files = tuple(Attachment(name, name) for name in fuzz.lines("A6", 2))
            said.append(message(number, "user", fuzz.text("A3", 1), attachments=files))
            name, error = fuzz.lines("A5", 1)[0], fuzz.lines("A4", 1)[0]
            said.append(message(number + 1, "assistant", "x", state="error", model=name, error=error))
        await _opened(fuzz, transfer("Labels", said))


async def queued(fuzz: Fuzz, count: int) -> None:
    """What waits to be sent."""
    for portion in portions(count, 100):
        conversation = fuzz.desk.blank()
        fuzz.desk.show(conversation)
        for text in fuzz.strings("A7", portion):
            await conversation.enqueue(text, (Attachment(text, text),))
        fuzz.desk.show_path()
        await fuzz.walk(fuzz.desk.transcript)


async def copied(fuzz: Fuzz, count: int) -> None:
    """Copying gives the original less its controls."""
    for portion in portions(count, 40):
        fuzz.desk.show(fuzz.desk.blank())
        text = fuzz.text("G1", portion)
        await fuzz.ask(text)
        await fuzz.settle(COPIES)
        fuzz.expect_copy(text)
        await fuzz.app.chat.action_command("message.copy")
        await fuzz.app.workers.wait_for_complete([one for one in fuzz.app.workers if one.group == "clipboard"])
        await fuzz.clear_toasts()
        await fuzz.settle(COPIES)
