"""A chat on a stage: a person at the app, and the model that the test speaks for."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from localqwen.chats.store import Store
from localqwen.events import Delta, Finished
from localqwen.params import SamplingParams
from localqwen.settings import Settings
from tests.tui.fakes import SIZE, FakeClient, FakeConnection
from tests.tui.person import Person
from tui.app import ChatApp
from tui.connections import Connection


@dataclass
class Stage(Person):
    """A person at an app whose model says what the test wants."""

    connection: FakeConnection
    settings_path: Path | None = None

    async def begin(self, question: str, *pieces: str) -> None:
        """Ask, and hear the beginning of an answer, if there is one yet."""
        count = len(self.client.asked)
        await self.send(question)
        await self.until(lambda: len(self.client.asked) > count)
        if pieces:
            await self.hear(*pieces)

    async def ask(self, question: str, answer: str) -> None:
        """Ask, and hear the whole answer."""
        await self.begin(question)
        self.client.answer(answer)
        await self.rests()

    async def hear(self, *pieces: str) -> None:
        """Let the model say something."""
        wanted = "".join(pieces)
        self.client.events.put_nowait(Delta(wanted))
        await self.until(lambda: self.open.answer is not None and self.open.answer.message.text.endswith(wanted))

    async def ends(self) -> None:
        """Let the answer end."""
        self.client.events.put_nowait(Finished("stop"))
        await self.rests()

    @property
    def client(self) -> FakeClient:
        """The model."""
        return self.connection.client


@asynccontextmanager
async def staged(
    store: Store,
    connection: FakeConnection | None = None,
    *,
    params: SamplingParams | None = None,
    settings: Settings | None = None,
    settings_path: Path | None = None,
    size: tuple[int, int] = SIZE,
    complaints: Sequence[str] = (),
) -> AsyncIterator[Stage]:
    """The app over ``store`` until the block ends, which is a kill and no orderly end."""
    connection = connection or FakeConnection()
    reached: Connection = connection
    app = ChatApp(store, reached, params, settings=settings, settings_path=settings_path, complaints=complaints)
    async with app.run_test(size=size, notifications=True) as pilot:
        yield Stage(app, pilot, store, connection, settings_path)


def killed(store: Store, to: Path) -> Store:
    """What a kill at this moment leaves behind: the store's files as they are, in another place."""
    shutil.copytree(store.path.parent, to)
    return Store(to / store.path.name)


def folder() -> list[str]:
    """The names of what is in the working directory."""
    return sorted(path.name for path in Path().iterdir())


def written(name: str) -> str:
    """What is in a file of the working directory."""
    return Path(name).read_text()
