"""One turn of the plain chat: an answer is awaited, said as it comes, and stopped when the person says so."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from typing import Any, Literal

from localqwen.chats.session import Conversation
from localqwen.chats.tree import Message
from localqwen.events import Loading
from localqwen.params import SamplingParams
from tui.asking import Asking
from tui.backend import Backend
from tui.backend_state import Starting
from tui.meters import loading_words, reading_words
from tui.plain_terminal import Interrupt, Terminal, Typed
from tui.plain_words import Speaking, waiting_words
from tui.sanitize import safe
from tui.turns import answered

# Between two sentences about a long prompt that is being read.
READING_SECONDS = 10.0


class PlainTurn:
    """Takes turns, one at a time."""

    def __init__(self, terminal: Terminal, backend: Backend, params: SamplingParams, typed: deque[Typed]) -> None:
        """``params`` hold where a conversation has no wishes of its own.

        ``typed`` gets what the person types meanwhile, which is for later.
        """
        self._terminal = terminal
        self._backend = backend
        self._params = params
        self._typed = typed

    async def take(self, conversation: Conversation, how: Literal["respond", "resume"] = "respond") -> None:
        """Say the answer to the end of a conversation, or what more there is of its last one.

        Raises:
            ChatStoreError: The end of the answer could not be kept.
        """
        self._backend.revive()
        asking = Asking(self._backend)
        self._tell_waiting()
        # Of an answer that goes on, what is there was said before.
        speaking = Speaking(self._terminal, asking, len(conversation.path[-1].text) if how == "resume" else 0)

        last = time.monotonic()

        def notify() -> None:
            nonlocal last
            if conversation.answer is not None:
                speaking.told(conversation.answer.message.text)
            now = time.monotonic()
            words = "" if asking.watch.has_text else reading_words(asking.watch, now)
            if words and now - last >= READING_SECONDS:
                last = now
                self._line(f"{words[:1].upper()}{words[1:]}.")

        params = self._params.overlaid(conversation.params)
        answering = asyncio.ensure_future(answered(asking, conversation, params, how, notify))
        try:
            await self._listen_for_stop(conversation, answering)
            self._end(speaking, await answering)
        finally:
            self._backend.on_change = lambda: None
            answering.cancel()

    async def _listen_for_stop(self, conversation: Conversation, answering: asyncio.Future[Message]) -> None:
        """Stop at Ctrl+C or /stop; whatever else is typed waits for its turn."""
        while not answering.done():
            reading = asyncio.ensure_future(self._terminal.read())
            both: set[asyncio.Future[Any]] = {reading, answering}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                reading.cancel()
                with suppress(asyncio.CancelledError):
                    await reading
                return
            match reading.result():
                case Interrupt():
                    conversation.stop()
                case str(line) if line.strip().lower() == "/stop":
                    conversation.stop()
                case None:
                    self._typed.append(None)
                    conversation.stop()
                    await asyncio.wait({answering})
                case line:
                    self._typed.append(line)

    def _tell_waiting(self) -> None:
        """Say what an answer waits for, now and when that changes; not every percent is worth a line."""
        told: list[str] = []

        def tell() -> None:
            words = waiting_words(self._backend.state)
            if words and words not in told:
                told.append(words)
                if isinstance(self._backend.state, Loading):
                    words = f"Loading: {loading_words(self._backend.state, self._backend.loading, 0)}."
                self._line(words)

        self._backend.on_change = tell
        tell()

    def _end(self, speaking: Speaking, message: Message) -> None:
        speaking.finish(message.text)
        match message.state:
            case "error":
                self._line(f"Error: {message.error or 'the answer failed.'}")
            case "stopped":
                self._line("Stopped; /continue goes on with it." if message.text else "Stopped.")
                if isinstance(self._backend.state, Starting | Loading):
                    self._line("The model is loaded all the same; Ctrl+C gives that up.")
            case _ if message.is_cut:
                count = message.usage.completion_tokens if message.usage is not None else 0
                self._line(f"Cut off at {count} tokens; /continue goes on with it.")
            case _ if not message.text:
                self._line("The answer is empty.")

    def _line(self, text: str) -> None:
        self._terminal.say(safe(text + "\n"))
