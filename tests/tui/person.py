"""A person at the app: what they do to it, what they see of it, and what is in its store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rich.cells import cell_len
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input, TextArea

from localqwen.chats.session import Conversation
from localqwen.chats.store import Store
from localqwen.chats.tree import Chat, Message
from tests.tui.fakes import post_key, press, screen_text, until
from tui.app import ChatApp
from tui.widgets.composer import Composer
from tui.widgets.transcript.view import Transcript


@dataclass
class Person:
    """Whoever sits before an app that runs. ``store`` is looked into, never through the app's own conversations."""

    app: ChatApp
    pilot: Pilot[None]
    store: Store
    patience: float = field(default=20, kw_only=True)
    """Seconds that anything may take."""

    # -- what a person does ----------------------------------------------------------------------------------------

    async def press(self, *keys: str) -> None:
        """Press keys, each when the one before it has been handled."""
        await press(self.pilot, *keys)

    async def write(self, text: str) -> None:
        """Type as fast as a terminal can bring it."""
        for char in text:
            post_key(self.pilot, char)
        await self.pilot.pause(0)

    async def send(self, text: str) -> None:
        """Write something and press Enter."""
        self.composer.focus()
        self.composer.insert(text)
        await self.press("enter")

    async def slash(self, line: str) -> None:
        """Give a command, without its slash."""
        self.composer.focus()
        self.composer.fill(f"/{line}")
        await self.press("enter")

    async def fill(self, selector: str, text: str) -> None:
        """Write a text into a field of the dialog that is open, in place of what is there."""
        await self.until(lambda: self.app.screen.query(selector))
        entry = self.app.screen.query_one(selector)
        match entry:
            case Input():
                entry.value = text
            case TextArea():
                entry.text = text
            case _:
                raise AssertionError(selector)
        await self.pilot.pause(0)

    async def click(self, text: str) -> None:
        """Click at the beginning of a text, where it is on the screen for the last time."""
        await self.sees(text)
        lines = self.screen.splitlines()
        row = max(number for number, line in enumerate(lines) if text in line)
        await self.pilot.click(offset=(cell_len(lines[row][: lines[row].rindex(text)]), row))

    # -- what a person sees ----------------------------------------------------------------------------------------

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something."""
        await until(self.pilot, condition, self.patience)

    async def sees(self, *texts: str) -> None:
        """Wait until these are on the screen."""
        await self.until(lambda: all(text in self.screen for text in texts))

    async def hears_of(self, words: str) -> None:
        """Wait for a notice, whose lines are broken anywhere."""
        await self.until(lambda: any(words in notice.message for notice in self.app._notifications))

    async def misses(self, *texts: str) -> None:
        """Wait until none of these is on the screen."""
        await self.until(lambda: not any(text in self.screen for text in texts))

    async def rests(self) -> None:
        """Wait until no answer is on its way here."""
        turns = self.app.chat.desk.turns
        await self.until(lambda: not turns.is_under_way(self.open) and " sends" in self.hint)

    async def is_back(self) -> None:
        """Wait until no dialog is open."""
        await self.until(lambda: self.app.screen is self.app.chat)

    async def opens(self, kind: type[Screen[Any]]) -> None:
        """Wait for a dialog."""
        await self.until(lambda: isinstance(self.app.screen, kind))

    @property
    def screen(self) -> str:
        """All that is on the screen."""
        return screen_text(self.app)

    @property
    def hint(self) -> str:
        """What the composer's border says of Enter and Esc."""
        return str(self.composer.border_subtitle)

    @property
    def marked(self) -> str:
        """The lines of the transcript that the cursor's bar stands beside."""
        left = self.transcript.region.x
        return "\n".join(line[left + 1 :] for line in self.screen.splitlines() if line[left : left + 1] == "▌")

    @property
    def list_titles(self) -> list[str]:
        """The conversations of the list, from top to bottom."""
        options = self.app.chat.desk.sidebar.options
        return [str(options.get_option_at_index(index).prompt) for index in range(options.option_count)]

    # -- what there is ---------------------------------------------------------------------------------------------

    @property
    def composer(self) -> Composer:
        """Where a person writes."""
        return self.app.chat.query_one(Composer)

    @property
    def transcript(self) -> Transcript:
        """Where a person reads."""
        return self.app.chat.query_one(Transcript)

    @property
    def open(self) -> Conversation:
        """The conversation that is shown."""
        return self.app.chat.desk.conversation

    @property
    def chat(self) -> Chat:
        """The open conversation, as it is kept."""
        assert self.open.chat is not None
        return self.store.chat(self.open.chat.id)

    @property
    def kept(self) -> list[Message]:
        """The path of the open conversation, as it is kept."""
        return self.store.tree(self.chat.id).path(self.chat.tip)

    @property
    def kept_texts(self) -> list[str]:
        """The texts of that path."""
        return [message.text for message in self.kept]

    @property
    def all_texts(self) -> list[str]:
        """The texts of all branches of the open conversation, as they are kept."""
        return [message.text for message in self.store.tree(self.chat.id)]
