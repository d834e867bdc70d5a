"""Commands that are about whole conversations."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from localqwen.chats.store import ChatStoreError
from localqwen.errors import LocalqwenError
from tui.desk import Desk
from tui.files import named, new_file
from tui.handlers import Handler, asked
from tui.sanitize import SafeText, safe_line

# Dialogs are imported where they are opened: the first paint waits for none of them.


class ConversationCommands:
    """New, open, name, pin, delete, find, set, export, import."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._deleted: list[int] = []

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By command id."""
        return {
            "chat.new": self.new,
            "chat.temporary": self.temporary,
            "chat.list": self.list,
            "chat.search": self.search,
            "chat.rename": self.rename,
            "chat.pin": self.pin,
            "chat.delete": self.delete,
            "chat.undo": self.undo,
            "chat.settings": self.settings,
            "chat.export": self.export,
            "chat.import": self.import_,
        }

    async def new(self, _: str) -> None:
        """An empty conversation; the open one goes on by itself."""
        await self._desk.forgetting(partial(self._begin, temporary=False))

    async def temporary(self, _: str) -> None:
        """One that lives in memory only."""
        await self._desk.forgetting(partial(self._begin, temporary=True))

    async def _begin(self, *, temporary: bool) -> None:
        if await self._desk.voice.trying(self._desk.leave()):
            self._desk.show(self._desk.blank(temporary=temporary))
            self._desk.composer.focus()

    def list(self, _: str) -> None:
        """To the list, or back."""
        sidebar = self._desk.sidebar
        if sidebar.options.has_focus:
            self._desk.composer.focus()
        else:
            sidebar.is_shown = True
            sidebar.options.focus()

    async def search(self, text: str) -> None:
        """Find, and open what was chosen."""
        from tui.screens.search import SearchScreen

        screen = SearchScreen(self._desk.store, safe_line(text))
        hit = await self._desk.screen.app.push_screen_wait(screen)
        self._desk.composer.focus()
        if hit is not None:
            sought = screen.sought.lower()
            found = [piece.lower() for piece, is_found in hit.pieces if is_found]
            await self._desk.open(hit.chat_id, hit.message_id, [sought, *sought.split(), *found])

    # -- one conversation; ``chat_id`` may be another one than the open one's, from the list -------------------------

    async def rename(self, title: str, chat_id: int | None = None) -> None:
        """Ask for a title, unless one is given."""
        desk, chat_id = self._desk, chat_id or self._open_id()
        if chat_id is None:
            self._has_none("name")
            return
        if not title:
            try:
                old = (await asyncio.to_thread(desk.store.chat, chat_id)).title
            except ChatStoreError as error:
                desk.voice.complain(error)
                return
            title = await asked(
                desk,
                "Rename",
                safe_line(old),
                f"{desk.key('dialog.take')} takes it, {desk.key('dialog.cancel')} cancels",
            )
        if not title.strip():
            return
        if chat_id == self._open_id():
            await desk.voice.trying(desk.conversation.rename(title))
            desk.paint()
        else:
            await desk.voice.trying(asyncio.to_thread(desk.store.rename, chat_id, title))
        desk.list_chats()

    async def pin(self, _: str, chat_id: int | None = None) -> None:
        """Pin, or unpin."""
        desk, chat_id = self._desk, chat_id or self._open_id()
        if chat_id is None:
            self._has_none("pin")
            return
        try:
            pinned = (await asyncio.to_thread(desk.store.chat, chat_id)).pinned
            await asyncio.to_thread(desk.store.pin, chat_id, not pinned)
        except ChatStoreError as error:
            desk.voice.complain(error)
        desk.list_chats()

    async def delete(self, _: str, chat_id: int | None = None) -> None:
        """Take a conversation away; it can be had back."""
        desk, chat_id = self._desk, chat_id or self._open_id()
        if chat_id is None:
            self._has_none("delete")
            return
        if desk.turns.find(desk.store, chat_id) is not None:
            desk.voice.say(safe_line(f"It is being answered: stop that first ({desk.key('answer.stop')})."))
            return
        if chat_id == self._open_id() and not await desk.voice.trying(desk.leave()):
            return
        if await desk.voice.trying(asyncio.to_thread(desk.store.delete, chat_id)):
            self._deleted.append(chat_id)
            if chat_id == self._open_id():
                desk.show(desk.blank())
            until = "until you quit" if desk.store.is_temporary else "for thirty days"
            desk.voice.say(safe_line(f"Deleted. /undo has it back, {until}."), seconds=8)
        desk.list_chats()

    async def undo(self, _: str) -> None:
        """Have back what was deleted last, in this session or before."""
        desk = self._desk
        try:
            if not self._deleted:
                self._deleted = [chat.id for chat in reversed(await asyncio.to_thread(desk.store.deleted_chats))]
            if not self._deleted:
                desk.voice.say(SafeText("Nothing was deleted."))
                return
            chat_id = self._deleted.pop()
            await asyncio.to_thread(desk.store.undelete, chat_id)
        except ChatStoreError as error:
            desk.voice.complain(error)
            return
        await desk.open(chat_id)
        desk.list_chats()

    async def settings(self, system: str) -> None:
        """The system prompt, which may be given, and how to sample."""
        from tui.screens.chat_settings import ChatSettings, ChatSettingsScreen

        desk = self._desk
        conversation = desk.conversation
        if system:
            if await desk.voice.trying(conversation.set_system(system)):
                desk.voice.say(SafeText("The system prompt is set; /system shows it."))
                desk.count_tokens()
                desk.list_chats()
            return
        now = ChatSettings(conversation.system, conversation.params)
        draft, save = await desk.unfinished(conversation, None)
        screen = ChatSettingsScreen(desk.store, now, desk.params, desk.backend.sampling, draft, save)
        chosen = await desk.screen.app.push_screen_wait(screen)
        if chosen is None or await desk.voice.trying(conversation.set_system(chosen.system)):
            await desk.voice.trying(conversation.save_unfinished(None, None))
        if chosen is not None:
            await desk.voice.trying(conversation.set_params(chosen.params))
            desk.count_tokens()
            desk.list_chats()

    async def export(self, name: str) -> None:
        """Write the open conversation to a file."""
        from localqwen.chats.export import export_chat, file_name

        desk = self._desk
        conversation = desk.conversation
        if conversation.chat is None or not conversation.path:
            desk.voice.say(SafeText("There is nothing to export yet."))
            return
        if not name:
            suggestion = safe_line(file_name(conversation.chat.title, ".md"))
            hint = "A name that ends in .json keeps every branch; .md what is shown."
            name = await asked(desk, "Export to", suggestion, hint)
        if not name.strip():
            return
        store, chat_id, tip = conversation.store, conversation.chat.id, conversation.tip

        def write() -> Path:
            path = new_file(name)
            # As it is kept: what is open knows an older tip and date, and may change while it is written.
            export_chat(replace(store.chat(chat_id), tip=tip), store.tree(chat_id), path)
            return path

        await desk.voice.tell_written(write)

    async def import_(self, name: str) -> None:
        """Read a conversation from a file, and open it."""
        from localqwen.chats.export import import_chat

        desk = self._desk
        if not name:
            name = await asked(desk, "Import", SafeText(""), "A .json or .md file that /export has written.")
        if not name.strip():
            return
        try:
            chat = await asyncio.to_thread(lambda: import_chat(desk.store, named(name)))
        except LocalqwenError as error:
            desk.voice.complain(error)
            return
        await desk.open(chat.id)

    def _open_id(self) -> int | None:
        desk = self._desk
        return desk.conversation.chat.id if desk.conversation.chat is not None and desk.is_listed else None

    def _has_none(self, what: str) -> None:
        if self._desk.is_listed:
            self._desk.voice.say(safe_line(f"There is nothing to {what}."))
        else:
            self._desk.voice.say(safe_line(f"A temporary conversation is kept nowhere: there is nothing to {what}."))
