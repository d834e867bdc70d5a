"""Conversations as a whole: listing, making, naming, pinning, deleting, their settings and drafts."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

from localqwen.chats.attachment import Attachment
from localqwen.chats.database import ChatStoreError, Database
from localqwen.chats.rows import CHAT, attachments_json, chat_of, params_json, storable
from localqwen.chats.tree import Chat
from localqwen.params import SamplingParams

# How long a deleted conversation can be had back.
KEPT_DAYS = 30
# Removing takes time for every message; what is left over goes at the next start.
PURGED_AT_ONCE = 50

# All in the order of an index, so that the first page costs the same however many conversations there are.
LISTED = f"SELECT {CHAT} FROM chat WHERE deleted_at IS NULL ORDER BY pinned DESC, updated DESC, id DESC LIMIT ?"
DELETED = f"SELECT {CHAT} FROM chat WHERE deleted_at IS NOT NULL ORDER BY deleted_at DESC LIMIT ?"
DRAFTED = (
    f"SELECT holder, (SELECT attachments FROM draft_attachments WHERE chat_id = chat.id) AS files, {CHAT} FROM chat "
    "WHERE deleted_at IS NULL AND tip IS NULL AND (draft <> '' OR files IS NOT NULL) ORDER BY updated DESC"
)
OUTDATED = "SELECT id FROM chat WHERE deleted_at IS NOT NULL AND deleted_at < ? ORDER BY deleted_at LIMIT ?"

MODEL_DEFAULTS = SamplingParams()


class ChatRows(Database):
    """The table ``chat`` and the drafts."""

    def chats(self, limit: int = 500) -> list[Chat]:
        """The conversations that are not deleted: pinned ones first, then the last used. Drafts come without files."""
        with self._reading() as db:
            return [chat_of(row) for row in db.execute(LISTED, (limit,))]

    def deleted_chats(self, limit: int = 100) -> list[Chat]:
        """The conversations that can be had back, last deleted first."""
        with self._reading() as db:
            return [chat_of(row) for row in db.execute(DELETED, (limit,))]

    def chat(self, chat_id: int) -> Chat:
        """One conversation, with the files of its draft.

        Raises:
            ChatStoreError: There is none with this id.
        """
        with self._reading() as db:
            row = db.execute(f"SELECT {CHAT} FROM chat WHERE id = ?", (chat_id,)).fetchone()
            files = db.execute("SELECT attachments FROM draft_attachments WHERE chat_id = ?", (chat_id,)).fetchone()
        if row is None:
            raise _gone(chat_id)
        return chat_of(row, files[0] if files else None)

    def abandoned_draft(self) -> Chat | None:
        """The newest conversation of which there is only a draft, and nobody alive who types it."""
        with self._reading() as db:
            rows = db.execute(DRAFTED).fetchall()
        for holder, files, *row in rows:
            if holder is None or not self._holder.is_alive(holder):
                return chat_of(row, files)
        return None

    def create_chat(self, system: str = "", params: SamplingParams = MODEL_DEFAULTS) -> Chat:
        """An empty conversation."""
        now = time.time()
        with self._writing() as db:
            cursor = db.execute(
                "INSERT INTO chat (created, updated, system, params) VALUES (?, ?, ?, ?)",
                (now, now, storable(system), params_json(params)),
            )
        assert cursor.lastrowid is not None
        return Chat(cursor.lastrowid, "", None, now, now, system=storable(system), params=params)

    def discard_if_empty(self, chat_id: int, system: str = "", params: SamplingParams = MODEL_DEFAULTS) -> bool:
        """Remove a conversation in which there is nothing at all, and tell whether it had to go.

        Args:
            chat_id: Which.
            system: The system prompt that it began with, which is no reason to keep it.
            params: The parameters that it began with.
        """
        with self._writing() as db:
            cursor = db.execute(
                "DELETE FROM chat WHERE id = ? AND draft = '' AND title = '' AND NOT pinned "
                "AND system = ? AND params = ? "
                "AND NOT EXISTS (SELECT 1 FROM message WHERE chat_id = chat.id) "
                "AND NOT EXISTS (SELECT 1 FROM queued WHERE chat_id = chat.id) "
                "AND NOT EXISTS (SELECT 1 FROM draft_attachments WHERE chat_id = chat.id) "
                "AND NOT EXISTS (SELECT 1 FROM unfinished WHERE chat_id = chat.id)",
                (chat_id, storable(system), params_json(params)),
            )
            return cursor.rowcount > 0

    def save_draft(self, chat_id: int, text: str, attachments: Sequence[Attachment] | None = None) -> None:
        """Keep what is typed and not sent. ``None`` leaves the attachments as they are, which costs nothing."""
        with self._writing() as db:
            db.execute(
                "UPDATE chat SET draft = ?, holder = ? WHERE id = ?", (storable(text), self._holder.name, chat_id)
            )
            if attachments:
                db.execute(
                    "INSERT INTO draft_attachments (chat_id, attachments) VALUES (?1, ?2) "
                    "ON CONFLICT (chat_id) DO UPDATE SET attachments = ?2",
                    (chat_id, attachments_json(attachments)),
                )
            elif attachments is not None:
                db.execute("DELETE FROM draft_attachments WHERE chat_id = ?", (chat_id,))

    def is_there(self, chat_id: int) -> bool:
        """Whether there is such a conversation; a deleted one that can be had back counts."""
        with self._reading() as db:
            return db.execute("SELECT 1 FROM chat WHERE id = ?", (chat_id,)).fetchone() is not None

    def has_draft(self, chat_id: int) -> bool:
        """Whether there is anything in a conversation that was typed and not sent."""
        with self._reading() as db:
            found = db.execute(
                "SELECT 1 FROM chat WHERE id = ?1 AND (draft <> '' "
                "OR EXISTS (SELECT 1 FROM draft_attachments WHERE chat_id = ?1))",
                (chat_id,),
            )
            return found.fetchone() is not None

    def rename(self, chat_id: int, title: str) -> None:
        """Give a conversation another title, on one line."""
        self._update(chat_id, "title = ?", storable(" ".join(title.split())))

    def pin(self, chat_id: int, pinned: bool = True) -> None:
        """List a conversation before the others, or no longer."""
        self._update(chat_id, "pinned = ?", int(pinned))

    def set_system(self, chat_id: int, system: str) -> None:
        """Give a conversation another system prompt; ``""`` for none."""
        self._update(chat_id, "system = ?, system_changed = ?", storable(system), time.time())

    def set_params(self, chat_id: int, params: SamplingParams) -> None:
        """Give a conversation other sampling parameters; what is ``None`` is the model's default."""
        self._update(chat_id, "params = ?", params_json(params))

    def delete(self, chat_id: int) -> None:
        """Take a conversation out of the list; :meth:`undelete` has it back for :data:`KEPT_DAYS`."""
        self._update(chat_id, "deleted_at = ?", time.time())

    def undelete(self, chat_id: int) -> None:
        """Have a deleted conversation back."""
        self._update(chat_id, "deleted_at = ?", None)

    def purge(self, now: float | None = None) -> int:
        """Remove for good what was deleted more than :data:`KEPT_DAYS` ago, and tell how many went.

        It is called when the store is opened; at most :data:`PURGED_AT_ONCE` go at a time.
        """
        before = (time.time() if now is None else now) - KEPT_DAYS * 86400
        with self._reading() as db:
            outdated = db.execute(OUTDATED, (before, PURGED_AT_ONCE)).fetchall()
        if outdated:
            with self._writing() as db:
                # Looked at again: another terminal may have had one back.
                db.executemany(
                    "DELETE FROM chat WHERE id = ? AND deleted_at < ?", [(chat_id, before) for (chat_id,) in outdated]
                )
        return len(outdated)

    def _update(self, chat_id: int, change: str, *values: object) -> None:
        with self._writing() as db:
            if not db.execute(f"UPDATE chat SET {change} WHERE id = ?", (*values, chat_id)).rowcount:
                raise _gone(chat_id)

    @staticmethod
    def _clear_draft(db: sqlite3.Connection, chat_id: int) -> None:
        db.execute("UPDATE chat SET draft = '', holder = NULL WHERE id = ?", (chat_id,))
        db.execute("DELETE FROM draft_attachments WHERE chat_id = ?", (chat_id,))


def _gone(chat_id: int) -> ChatStoreError:
    return ChatStoreError(f"there is no conversation {chat_id} any more; choose another one")
