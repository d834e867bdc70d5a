"""The chat as the fuzz drives it: hostile strings go in at every source, and each place is shown to its end.

Started by :mod:`benchmarks.fuzz.run` on a pseudo-terminal, with two pipes: on one it tells what it does, line by line
in JSON, on the other it is told to go on when all that it wrote has been read.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from textual import events
from textual.screen import ModalScreen
from textual.widget import Widget

from benchmarks.fuzz import hostile
from localqwen.chats.store import Store
from localqwen.client import MODEL_DEFAULTS
from localqwen.device_memory import DeviceMemory
from localqwen.events import AnswerEvent, Delta, Finished, Ready
from localqwen.params import ChatMessage, SamplingParams
from tui.app import ChatApp
from tui.attachments import Outgoing
from tui.connections import Listener
from tui.desk import Desk

PATIENCE_SECONDS = 60.0
BETWEEN = (
    *(" ",) * 12, ", ", " | ", " and\n", "\n", "\n\n", "\n- ", "\n> ", "\n```py\n", "\n```\n\n", "\n## ",
)  # fmt: skip
TOAST_SECONDS = 0.5
COMPLAINTS = 12
PIECES_BETWEEN_FRAMES = 8
FRAME_SECONDS = 0.004
LOOK_SECONDS = 0.002


class HostileModel:
    """Answers with ``text`` in pieces as random as a network's; its name and address may be anything."""

    def __init__(self, chance: random.Random) -> None:
        self.name = "model"
        self.address: str | None = None
        self.listener: Listener | None = None
        self.text = ""
        self.end = Finished("stop")
        self._chance = chance

    async def live(self, listener: Listener) -> str:
        """Never ends."""
        self.listener = listener
        listener.loaded(self, Ready("model", 131072))
        await asyncio.Event().wait()
        return ""

    async def count_tokens(self, said: Sequence[ChatMessage] | str) -> int | None:
        """Nobody counts."""
        return None

    async def memory(self) -> tuple[DeviceMemory, ...]:
        """Nobody looks."""
        return ()

    async def stream(
        self,
        messages: Sequence[ChatMessage],
        params: SamplingParams = MODEL_DEFAULTS,
        model: str | None = None,
        *,
        resume: bool = False,
    ) -> AsyncGenerator[AnswerEvent, None]:
        """Pieces of one character and of many, cut anywhere."""
        at, count, longest = 0, 0, max(8, len(self.text) // 20)
        while at < len(self.text):
            length = self._chance.choice((1, 2, 5, self._chance.randrange(1, longest)))
            yield Delta(self.text[at : at + length])
            at, count = at + length, count + 1
            if count % PIECES_BETWEEN_FRAMES == 0:
                await asyncio.sleep(FRAME_SECONDS)
        yield self.end


def portions(count: int, size: int) -> Iterator[int]:
    """``count`` in parts of at most ``size``."""
    while count > 0:
        yield min(size, count)
        count -= size


@dataclass
class Fuzz:
    """One fuzz of one app: the strings that went in, and how what was painted is waited for.

    Attributes:
        first: The number of the first string of each source: two apps have no marks in common.
        made: How many strings went in, by source.
    """

    app: ChatApp
    model: HostileModel
    store: Store
    chance: random.Random
    tell: Callable[[dict[str, object]], None]
    told: Callable[[], None]
    first: int = 0
    made: dict[str, int] = field(default_factory=dict)

    @property
    def desk(self) -> Desk:
        """The open conversation and its widgets."""
        return self.app.chat.desk

    def strings(self, source: str, count: int, *, one_line: bool = False) -> list[str]:
        """So many new hostile strings, marked as those of ``source``."""
        begin = self.made.get(source, 0)
        self.made[source] = begin + count
        numbers = range(self.first + begin, self.first + begin + count)
        return hostile.strings(self.chance, source, numbers, one_line=one_line)

    def lines(self, source: str, count: int) -> list[str]:
        """The same for what has one line."""
        return self.strings(source, count, one_line=True)

    def text(self, source: str, count: int) -> str:
        """A text of so many hostile strings, with Markdown and harmless words between them."""
        return "".join(one + self.chance.choice(BETWEEN) for one in self.strings(source, count))

    async def painted(self) -> None:
        """Wait until what has changed is painted."""
        done = asyncio.Event()
        self.app.screen.call_after_refresh(done.set)
        await asyncio.wait_for(done.wait(), PATIENCE_SECONDS)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something that comes soon."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():  # noqa: ASYNC110 (what is waited for tells nobody)
                await asyncio.sleep(LOOK_SECONDS)

    async def walk(self, view: Widget) -> None:
        """Show all of what can be scrolled, screen by screen."""
        top = 0.0
        while True:
            view.scroll_to(y=top, animate=False, force=True)
            await self.painted()
            if top >= view.max_scroll_y:
                return
            top = min(top + max(1, view.size.height - 1), view.max_scroll_y)

    async def paste(self, text: str) -> None:
        """What a terminal sends for a paste, into whatever has the focus."""
        self.app.post_message(events.Paste(text))
        await self.painted()

    async def open(self, dialog: ModalScreen[Any]) -> None:
        """Show a dialog, to its first paint."""
        await self.app.push_screen(dialog)
        await self.painted()

    async def close(self) -> None:
        """Back to the chat."""
        while self.app.screen is not self.app.chat:
            await self.app.pop_screen()
        await self.painted()

    async def clear_toasts(self) -> None:
        """Take away all that was notified, and the empty holders, which Textual leaves to push off what follows."""
        self.app.clear_notifications()
        await self.app.screen.query("ToastHolder").remove()

    async def ask(self, text: str, end: Finished | None = None) -> None:
        """Let the model answer with ``text``, to the end of the turn."""
        desk = self.desk
        self.model.text, self.model.end = text, end or Finished("stop")
        desk.send(Outgoing("Go on."))
        conversation = desk.conversation
        await self.until(lambda: not desk.turns.is_under_way(conversation) and conversation.answer is not None)
        await self.until(lambda: desk.transcript.is_settled)
        await self.painted()

    def expect_copy(self, text: str) -> None:
        """Tell that this is copied next; surrogates and all."""
        data = text.encode("utf-8", "surrogatepass")
        self.tell({"copied": base64.b64encode(data).decode()})

    def type(self, data: bytes) -> None:
        """Let the terminal send these bytes."""
        self.tell({"type": base64.b64encode(data).decode()})

    async def settle(self, doing: str) -> None:
        """Tell what was done, and go on when all that it painted has been read."""
        self.tell({"done": doing, "made": self.made})
        await asyncio.to_thread(self.told)


def main() -> None:
    """Fuzz as the command line says: sources, their scale, the fewest of one, the seed, a folder, and the two pipes."""
    from benchmarks.fuzz.sources import SOURCES

    which, scale, fewest, seed, folder = sys.argv[1], *map(float, sys.argv[2:4]), int(sys.argv[4]), Path(sys.argv[5])
    out, back = map(int, sys.argv[6:8])
    os.chdir(folder)  # where @ finds files
    chance = random.Random(seed)
    model = HostileModel(chance)
    store = Store(folder / "chats.sqlite3")
    first = 0 if which == "tall" else hostile.MARKS // 2
    complaints = [hostile.line(chance, hostile.mark("E2", first + number)) for number in range(COMPLAINTS)]
    app = ChatApp(store, model, complaints=complaints)

    def tell(what: dict[str, object]) -> None:
        os.write(out, json.dumps(what).encode() + b"\n")

    def told() -> None:
        if not os.read(back, 1):
            raise EOFError

    fuzz = Fuzz(app, model, store, chance, tell, told, first, {"E2": COMPLAINTS})

    async def drive(_: object) -> None:
        await fuzz.until(lambda: fuzz.model.listener is not None)
        await fuzz.painted()
        await asyncio.sleep(TOAST_SECONDS)
        await fuzz.clear_toasts()  # they would lie over the rest
        await fuzz.settle("complaints about the settings file")
        for name, source, count in SOURCES[which]:
            await source(fuzz, max(int(fewest), round(count * scale)))
            await fuzz.close()
            await fuzz.clear_toasts()
            await fuzz.settle(name)
        await fuzz.settle("the end")
        app.exit()

    app.run(auto_pilot=drive)
    store.close()
    sys.exit(app.return_code)


if __name__ == "__main__":
    main()
