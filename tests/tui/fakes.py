"""A connection whose timing the test decides, and waiting on conditions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace

from textual import events
from textual.pilot import Pilot
from textual.widgets._toast import Toast

from localqwen.chats.store import Store
from localqwen.chats.tree import Message
from localqwen.client import MODEL_DEFAULTS
from localqwen.device_memory import DeviceMemory
from localqwen.errors import ServerError
from localqwen.events import AnswerEvent, Delta, Finished, LoadEvent, Ready
from localqwen.params import ChatMessage, SamplingParams
from tui.app import ChatApp
from tui.connections import Connection, Listener
from tui.model_list import ModelRow
from tui.widgets.transcript.view import Transcript

GB = 10**9
SIZE = (110, 36)
KEY_NAMES = {
    " ": "space",
    "\n": "ctrl+j",
    "/": "slash",
    "@": "at",
    ".": "full_stop",
    "?": "question_mark",
    "!": "exclamation_mark",
    "-": "minus",
}


class FakeClient:
    """Answers with the events that the test puts in; what it was asked is in ``asked``."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[AnswerEvent] = asyncio.Queue()
        self.asked: list[list[ChatMessage]] = []
        self.params: list[SamplingParams] = []
        self.resumed: list[bool] = []
        self.closed = 0
        self.counts: dict[str, int] = {}
        self.devices: tuple[DeviceMemory, ...] = ()

    async def count_tokens(self, said: Sequence[ChatMessage] | str) -> int | None:
        return self.counts.get(said) if isinstance(said, str) else None

    async def memory(self) -> tuple[DeviceMemory, ...]:
        return self.devices

    async def stream(
        self,
        messages: Sequence[ChatMessage],
        params: SamplingParams = MODEL_DEFAULTS,
        model: str | None = None,
        *,
        resume: bool = False,
    ) -> AsyncGenerator[AnswerEvent, None]:
        self.asked.append(list(messages))
        self.params.append(params)
        self.resumed.append(resume)
        try:
            while True:
                event = await self.events.get()
                yield event
                if isinstance(event, Finished):
                    return
        finally:
            self.closed += 1

    def say(self, *pieces: str) -> None:
        """Send text."""
        for piece in pieces:
            self.events.put_nowait(Delta(piece))

    def answer(self, text: str) -> None:
        """Send a whole answer."""
        self.say(text)
        self.events.put_nowait(Finished("stop"))


class FakeConnection:
    """A model that loads and dies when the test says so; by default it is ready at once."""

    def __init__(
        self,
        *,
        ready: bool = True,
        address: str | None = None,
        name: str = "fake",
        window: int = 4096,
        sampling: SamplingParams = MODEL_DEFAULTS,
    ) -> None:
        self.name = name
        self.window = window
        self.sampling = sampling
        self.address = address
        self.client = FakeClient()
        self.lives = 0
        self.listeners: list[Listener] = []
        self.given_up = 0
        self._events: asyncio.Queue[LoadEvent | str] = asyncio.Queue()
        self._ready = ready

    async def live(self, listener: Listener) -> str:
        self.lives += 1
        self.listeners.append(listener)
        if self._ready:
            listener.loaded(self.client, Ready(self.name, self.window, self.sampling))
        try:
            while True:
                event = await self._events.get()
                if isinstance(event, str):
                    listener.lost()
                    return event
                listener.loaded(self.client, event)
        except asyncio.CancelledError:
            self.given_up += 1
            raise

    def load(self, event: LoadEvent) -> None:
        """Let loading go on."""
        self._events.put_nowait(event)

    def die(self, reason: str) -> None:
        """Let the server go away."""
        self._events.put_nowait(reason)


class FakeSource:
    """Models to choose from; what is larger than 10 GB does not fit."""

    def __init__(self, *rows: ModelRow, error: str = "") -> None:
        self.rows = list(rows)
        self.error = error

    async def listed(self) -> list[ModelRow]:
        if self.error:
            raise ServerError(self.error)
        return self.rows

    async def judged(self) -> list[ModelRow]:
        return [replace(row, fit="gpu" if row.size < 10 * GB else "no", short=GB) for row in self.rows]

    def connection(self, row: ModelRow) -> Connection:
        return FakeConnection(name=row.name)


async def until(pilot: Pilot[None], condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for a condition; one ``pilot.pause()`` is not enough, and a fixed sleep is too long or too short."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain; the screen shows:\n" + screen_text(pilot.app)
        # Not Pilot.pause(), which asks every widget each time and so takes from the app what it waits for.
        await asyncio.sleep(0.005)
    await pilot.pause(0)


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Press keys, each when the one before it has been handled."""
    for key in keys:
        focused = pilot.app.focused
        post_key(pilot, key)
        # Pilot.press() waits until the processor is idle, which takes most of a test's time. A key that the focused
        # widget does not want goes up to the app, a widget at each turn.
        for _ in focused.ancestors_with_self if focused is not None else [None]:
            await pilot.pause(0)


def post_key(pilot: Pilot[None], key: str) -> None:
    """Press the key of a name or a character, and wait for nothing."""
    name = KEY_NAMES.get(key, key)
    character = key if len(key) == 1 else next((char for char, called in KEY_NAMES.items() if called == name), None)
    pilot.app.post_message(events.Key(name, None if character == "\n" else character))


def screen_text(app: object) -> str:
    """What a person sees, as text."""
    assert isinstance(app, ChatApp)
    width, height = app.size
    lines = app.screen._compositor.render_strips()
    shown = ["".join(segment.text for segment in line)[:width].rstrip() for line in lines[:height]]
    # Notes are as narrow as the list they lie on, so a sentence of theirs is in several lines between others.
    notes = [str(toast.render()) for toast in app.screen.query(Toast) if app.screen.region.overlaps(toast.region)]
    return "\n".join([*shown, *notes])


def transcript(app: ChatApp) -> Transcript:
    """The chat screen's transcript."""
    return app.chat.query_one(Transcript)


def shows(pilot: Pilot[None], *texts: str) -> Callable[[], bool]:
    """A condition: these are on the screen."""
    return lambda: all(text in screen_text(pilot.app) for text in texts)


def last_message(store: Store) -> Message:
    """The end of the path of the conversation that was used last."""
    chat = store.chats()[0]
    return store.tree(chat.id).path(chat.tip)[-1]


async def type_text(pilot: Pilot[None], text: str) -> None:
    """Type as fast as a terminal can bring it."""
    for char in text:
        post_key(pilot, char)
    await pilot.pause()
