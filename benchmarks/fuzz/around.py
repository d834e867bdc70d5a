"""Sources whose strings come into what stands around the transcript: lists, lines of state, notifications."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from textual.widgets._toast import Toast  # where else could one be waited for

from benchmarks.fuzz.app import Fuzz, portions
from localqwen.chats.tree import Chat
from localqwen.device_memory import DeviceMemory
from localqwen.errors import LocalqwenError
from localqwen.events import Ready
from tui.backend_state import Failed

TOAST_SECONDS = 0.05


def _chats(fuzz: Fuzz, source: str, count: int) -> list[Chat]:
    names = fuzz.lines(source, count)
    base = Chat(1, "", 1, 0.0, 0.0)
    return [replace(base, id=number, title=name) for number, name in enumerate(names, 1)]


async def titles(fuzz: Fuzz, count: int) -> None:
    """Titles in the list."""
    for portion in portions(count, 380):
        fuzz.desk.sidebar.show(_chats(fuzz, "B1", portion), None)
        await fuzz.walk(fuzz.desk.sidebar.options)


async def drafts_listed(fuzz: Fuzz, count: int) -> None:
    """Drafts in the list."""
    for portion in portions(count, 380):
        chats = [replace(chat, tip=None, draft=chat.title) for chat in _chats(fuzz, "B2", portion)]
        fuzz.desk.sidebar.show(chats, None)
        await fuzz.walk(fuzz.desk.sidebar.options)


async def title(fuzz: Fuzz, count: int) -> None:
    """The open conversation's."""
    conversation = fuzz.desk.blank()
    fuzz.desk.show(conversation)
    for name in fuzz.lines("B3", count):
        await conversation.rename(name)
        fuzz.desk.refresh()
        await fuzz.painted()


async def model_names(fuzz: Fuzz, count: int) -> None:
    """What a server calls its model."""
    assert fuzz.model.listener is not None
    for name in fuzz.lines("D1", count):
        fuzz.model.listener.loaded(fuzz.model, Ready(name, 4096))
        fuzz.desk.refresh()
        await fuzz.painted()
    fuzz.model.listener.loaded(fuzz.model, Ready("model", 131072))


async def devices(fuzz: Fuzz, count: int) -> None:
    """Names of devices, whose memory stands in the status line."""
    backend = fuzz.desk.backend
    for name in fuzz.lines("D5", count):
        backend.memory = (DeviceMemory(name, name, "gpu", 1 << 30, 2 << 30),)
        fuzz.desk.refresh()
        await fuzz.painted()
    backend.memory = ()


async def reasons(fuzz: Fuzz, count: int) -> None:
    """Why there is no model."""
    before = fuzz.desk.backend.state
    for reason in fuzz.lines("D4", count):
        fuzz.desk.backend.state = Failed(reason)
        fuzz.desk.refresh()
        await fuzz.painted()
    fuzz.desk.backend.state = before


async def addresses(fuzz: Fuzz, count: int) -> None:
    """Where what is typed goes to."""
    for address in fuzz.lines("F8", count):
        fuzz.model.address = address
        fuzz.desk.show(fuzz.desk.blank())
        await fuzz.painted()
    fuzz.model.address = None


async def toasts(fuzz: Fuzz, count: int) -> None:
    """Errors of the store, of files, of anything."""
    for portion in portions(count, 2):
        for sentence in fuzz.lines("E1", portion):
            fuzz.desk.voice.complain(LocalqwenError(sentence))
        await _toasts_are_shown(fuzz, portion)


async def commands(fuzz: Fuzz, count: int) -> None:
    """What is typed behind a slash, which comes back in what is said about it."""
    composer = fuzz.desk.composer
    for argument in fuzz.lines("E3", count):
        composer.fill(f"/{fuzz.chance.choice(('theme', 'import'))} {argument}")
        await composer.action_send()
        await _toasts_are_shown(fuzz, 1)
    composer.fill("")


async def _toasts_are_shown(fuzz: Fuzz, count: int) -> None:
    def are_shown() -> bool:
        toasts = fuzz.app.screen.query(Toast)
        return len(toasts) >= count and all(toast.size for toast in toasts)

    await fuzz.until(are_shown)
    await asyncio.sleep(TOAST_SECONDS)
    await fuzz.painted()
    await fuzz.painted()
    await fuzz.clear_toasts()
