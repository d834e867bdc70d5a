"""Make the pictures of README.md and docs/chat.md: the real app, the real engine, the demo model.

    .venv/bin/python scripts/screenshot.py [MODEL]

MODEL is `demo` by default, which `localqwen demo` makes. It answers in a home of its own, where no other model and no
state of an earlier answer is, with temperature 0 and one token after the other: the same text each time, as fast as
this machine is. The tests' pictures are taken by the same camera, of a scripted model.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"
sys.path.insert(0, str(DOCS.parent))

from localqwen import library, paths  # noqa: E402 (found by the path above)
from localqwen.chats.attachment import Attachment  # noqa: E402
from localqwen.chats.session import Conversation  # noqa: E402
from localqwen.chats.store import Store  # noqa: E402
from localqwen.params import SamplingParams  # noqa: E402
from localqwen.serve_options import ServeOptions  # noqa: E402
from tests.tui.person import Person  # noqa: E402
from tests.tui.pictures.camera import posed, still, unmoved  # noqa: E402
from tui.app import ChatApp  # noqa: E402
from tui.connections import LocalServer  # noqa: E402
from tui.screens.edit import EditScreen  # noqa: E402

SIZE, LOWER = (112, 42), (112, 34)
PATIENCE = 180.0
EARLIER = ("Plan a week of dinners", "Why is the sky blue?", "Explain YaRN like I am five")
CAPITALS = Attachment("capitals.txt", "Japan: Tokyo\nFrance: Paris\nItaly: Rome\n")
LIGHTHOUSE = Attachment(
    "notes/lighthouse.txt",
    "The lighthouse was built in 1862. It is 41 metres high and made of granite.\n"
    "Its lamp can be seen from 30 kilometres away. It has worked without a keeper since 1988.\n",
)
TIDES = Attachment(
    "notes/tides.txt",
    "The tides are the rise and fall of the sea. They are caused by the pull of the Moon and, less, of the Sun.\n"
    "At new moon and at full moon both pull in one line, and the tides are highest: these are spring tides.\n"
    "At half moon the tides are lowest: these are neap tides.\n",
)


class Photographer(Person):
    """A person who talks to a real model, and takes pictures."""

    async def asks(self, question: str, *files: Attachment) -> None:
        """Ask, and read the whole answer."""
        self.composer.fill(question, files)
        await self.press("enter")
        await self._hears(question)

    async def asks_instead(self, question: str) -> None:
        """Change the last question, and read its answer."""
        await self.press("f5")
        await self.opens(EditScreen)
        await self.fill("#edit", question)
        await self.press("ctrl+s")
        await self.is_back()
        await self._hears(question)

    async def takes(self, name: str, *texts: str) -> None:
        """Take a picture, once these texts are seen."""
        await self.sees(*texts)
        path = DOCS / f"{name}.svg"
        path.write_text(await still(self), encoding="utf-8")
        print(f"wrote {path}")

    async def _hears(self, question: str) -> None:
        await self.until(lambda: [message.text for message in self.open.path[-2:-1]] == [question])
        await self.until(lambda: self.open.path[-1].state != "streaming")
        await self.rests()
        if (answer := self.open.path[-1]).state != "done":
            raise SystemExit(f"There is no whole answer ({answer.error or answer.state}); the screen:\n{self.screen}")


async def show_a_talk(person: Photographer) -> None:
    """A file, a table and code."""
    await person.asks("Can you make a table of these?", CAPITALS)
    await person.asks("Write a short Python function for the area of a circle.")
    await person.takes("chat", "ready", "first token")


async def show_branches(person: Photographer) -> None:
    """Questions that were changed, and a draft with a file."""
    await person.pilot.resize_terminal(*LOWER)
    await person.press("ctrl+n")
    await person.asks("How high is the lighthouse?", LIGHTHOUSE)
    await person.asks_instead("Explain this in simple words.")
    await person.asks("When was it built?")
    await person.asks_instead("When was the lighthouse built?")
    person.composer.fill("", [TIDES])
    await person.write("Could a spring tide reach it?")
    await person.takes("branches", "2/2", TIDES.name, "draft")


async def show_dialogs(person: Photographer) -> None:
    """Where the model lies, and what else there is."""
    await person.press("f2")
    await person.takes("plan", "Expected")
    await person.press("escape", "f9")
    await person.takes("models", "fits")


async def main(model: str = "demo") -> None:
    """Take all pictures."""
    installed = library.resolve(model, notify=print)
    with tempfile.TemporaryDirectory() as home, unmoved():
        os.environ["LOCALQWEN_HOME"] = home
        path = paths.models_dir() / installed.name
        path.parent.mkdir(parents=True)
        path.symlink_to(installed)
        store = Store(paths.chats_path())
        for question in EARLIER:
            await Conversation(store).ask(question)
        # What is guessed ahead depends on the clock, and a small model's near ties on what is guessed.
        connection = LocalServer(path, model, ServeOptions(speculation=False))
        params = SamplingParams(temperature=0, max_tokens=400)
        app = ChatApp(store, connection, params, settings=posed())
        async with app.run_test(size=SIZE) as pilot:
            person = Photographer(app, pilot, store, patience=PATIENCE)
            await show_a_talk(person)
            await show_branches(person)
            await show_dialogs(person)
        store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
