"""What the plain chat does with conversations: list, search, open, name, delete, write, read, go among versions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from localqwen.chats.session import Conversation
from localqwen.chats.store import Store
from tui.files import named, new_file
from tui.sanitize import safe_line

LISTED = 20
NOTHING = "There is no conversation yet: say something first."

PlainHandler: TypeAlias = Callable[[str], Awaitable[None]]


@dataclass(slots=True)
class Session:
    """What a plain chat is in.

    Attributes:
        store: Where conversations are kept.
        system: The system prompt of new ones.
        conversation: The open one.
        listed: What the numbers of the last list mean: conversations, and messages in them that were found.
    """

    store: Store
    system: str
    conversation: Conversation
    listed: list[tuple[int, int | None]] = field(default_factory=list)

    def begin(self) -> None:
        """Open an empty conversation."""
        self.conversation = Conversation(self.store, system=self.system)


class ConversationLines:
    """Commands about conversations, said in lines."""

    def __init__(self, session: Session, say: Callable[[str], None], model: Callable[[], str]) -> None:
        """``say`` says a line; ``model`` names who answers, for answers that do not tell."""
        self._session = session
        self._say = say
        self._model = model
        self._deleted: list[int] = []

    @property
    def handlers(self) -> Mapping[str, PlainHandler]:
        """By the commands' names."""
        return {
            "new": self.new,
            "list": self.list,
            "search": self.search,
            "open": self.open,
            "rename": self.rename,
            "system": self.system,
            "delete": self.delete,
            "undo": self.undo,
            "export": self.export,
            "import": self.import_,
            "previous-version": lambda _: self._switch(-1),
            "next-version": lambda _: self._switch(1),
        }

    async def new(self, _: str) -> None:
        """An empty conversation."""
        self._session.begin()
        self._say("A new conversation.")

    async def list(self, _: str) -> None:
        """The conversations, newest first."""
        chats = await asyncio.to_thread(self._session.store.chats)
        chats = [chat for chat in chats if chat.tip is not None][:LISTED]
        self._session.listed = [(chat.id, None) for chat in chats]
        for number, chat in enumerate(chats, 1):
            self._say(f"{number}. {safe_line(chat.title) or 'Untitled'}")
        self._say("/open and a number goes on with one." if chats else "There are no conversations yet.")

    async def search(self, text: str) -> None:
        """Find words in all conversations."""
        if not text:
            self._say("Say what to look for, as /search shed.")
            return
        hits = await asyncio.to_thread(self._session.store.search, text, LISTED)
        self._session.listed = [(hit.chat_id, hit.message_id) for hit in hits]
        for number, hit in enumerate(hits, 1):
            words = safe_line("".join(piece for piece, _ in hit.pieces)) if hit.message_id is not None else ""
            where = " (in a file)" if hit.is_file else ""
            self._say(f"{number}. {safe_line(hit.title) or 'Untitled'}{where}{': ' if words else ''}{words}")
        self._say("/open and a number goes on with one." if hits else "Nothing was found.")

    async def open(self, rest: str) -> None:
        """Go on with one of the last list."""
        session = self._session
        if not session.listed:
            await self.list("")
        if not rest.isdecimal() or not 1 <= int(rest) <= len(session.listed):
            self._say("Say which one, as /open 1; /list has the numbers.")
            return
        chat_id, message_id = session.listed[int(rest) - 1]
        conversation = await Conversation.open(session.store, chat_id)
        if message_id is not None and all(message.id != message_id for message in conversation.path):
            await conversation.switch(message_id)
        session.conversation = conversation
        self._say_path()

    async def rename(self, title: str) -> None:
        """Another title."""
        conversation = self._session.conversation
        if conversation.chat is None:
            self._say(NOTHING)
        elif not title:
            self._say("Say the title, as /rename The shed.")
        else:
            await conversation.rename(title)
            self._say(f"It is named {safe_line(title)} now.")

    async def system(self, text: str) -> None:
        """Say the system prompt, or set it."""
        conversation = self._session.conversation
        if text:
            await conversation.set_system(text)
        prompt = conversation.system
        self._say(f"The system prompt is: {prompt}" if prompt else "There is no system prompt; /system TEXT sets one.")

    async def delete(self, _: str) -> None:
        """Take the conversation away."""
        session = self._session
        if session.conversation.chat is None:
            self._say(NOTHING)
            return
        chat_id = session.conversation.chat.id
        await asyncio.to_thread(session.store.delete, chat_id)
        self._deleted.append(chat_id)
        session.listed = []
        session.begin()
        self._say("Deleted. /undo has it back, for thirty days.")

    async def undo(self, _: str) -> None:
        """Have back what was deleted last, in this session or before."""
        session = self._session
        if not self._deleted:
            self._deleted = [chat.id for chat in reversed(await asyncio.to_thread(session.store.deleted_chats))]
        if not self._deleted:
            self._say("Nothing was deleted.")
            return
        chat_id = self._deleted.pop()
        await asyncio.to_thread(session.store.undelete, chat_id)
        session.conversation = await Conversation.open(session.store, chat_id)
        self._say_path()

    async def export(self, name: str) -> None:
        """Write the conversation to a file that is not there yet."""
        from localqwen.chats.export import export_chat

        conversation = self._session.conversation
        if conversation.chat is None or not conversation.path:
            self._say(NOTHING)
            return
        if not name:
            self._say("Say which file, as /export chat.md, or chat.json for every branch.")
            return
        store, chat_id, tip = conversation.store, conversation.chat.id, conversation.tip

        def write() -> Path:
            path = new_file(name)
            export_chat(replace(store.chat(chat_id), tip=tip), store.tree(chat_id), path)
            return path

        self._say(f"Written to {await asyncio.to_thread(write)}.")

    async def import_(self, name: str) -> None:
        """Read a conversation that was exported, and open it."""
        from localqwen.chats.export import import_chat

        session = self._session
        if not name:
            self._say("Say which file, as /import chat.json.")
            return
        chat = await asyncio.to_thread(lambda: import_chat(session.store, named(name)))
        session.conversation = await Conversation.open(session.store, chat.id)
        self._say_path()

    async def _switch(self, direction: int) -> None:
        """Show the version before or after the last message that has several."""
        conversation = self._session.conversation
        tree = conversation.tree
        message = next((one for one in reversed(conversation.path) if tree.position(one.id)[1] > 1), None)
        if message is None:
            self._say("There are no versions here: /edit and /regenerate make them.")
            return
        siblings = tree.siblings(message.id)
        at = [one.id for one in siblings].index(message.id) + direction
        if not 0 <= at < len(siblings):
            self._say("This is the last version." if direction > 0 else "This is the first version.")
            return
        await conversation.switch(siblings[at].id)
        self._say(f"Version {at + 1} of {len(siblings)}.")
        self._say_path()

    def _say_path(self) -> None:
        for message in self._session.conversation.path:
            name = "You" if message.role == "user" else message.model or self._model()
            self._say(f"{safe_line(name)}: {message.text}")
            for attachment in message.attachments:
                self._say(f"(with {safe_line(attachment.name)})")
