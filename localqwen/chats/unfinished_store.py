"""What is being written in a dialog and not accepted yet, and what dead processes have left unsent or unfinished."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from localqwen.chats.database import Database
from localqwen.chats.rows import storable

Leftover: TypeAlias = Literal["draft", "edit", "system"]

# From the index of drafts and the table of their files, which are short, and not from all conversations.
_DRAFTS = """
SELECT holder, id, title FROM chat
WHERE deleted_at IS NULL AND tip IS NOT NULL AND id IN (
    SELECT id FROM chat WHERE deleted_at IS NULL AND draft <> '' UNION SELECT chat_id FROM draft_attachments
) ORDER BY updated DESC
"""
_UNFINISHED = """
SELECT unfinished.holder, chat.id, title, message_id FROM unfinished JOIN chat ON chat.id = chat_id
WHERE deleted_at IS NULL ORDER BY updated DESC
"""


@dataclass(frozen=True, slots=True)
class Left:
    """Something that a person did not come to an end with: ``kind`` of it, in which conversation."""

    kind: Leftover
    chat_id: int
    title: str


class UnfinishedRows(Database):
    """The table ``unfinished``: another text of a message, or where there is no message of the system prompt."""

    def save_unfinished(self, chat_id: int, message_id: int | None, text: str | None) -> None:
        """Keep the text that is being written in place of a message's or the system prompt's; ``None`` forgets it."""
        with self._writing() as db:
            db.execute("DELETE FROM unfinished WHERE chat_id = ? AND message_id IS ?", (chat_id, message_id))
            if text is not None:
                db.execute(
                    "INSERT INTO unfinished (chat_id, message_id, text, holder) VALUES (?, ?, ?, ?)",
                    (chat_id, message_id, storable(text), self._holder.name),
                )

    def unfinished(self, chat_id: int, message_id: int | None) -> str | None:
        """The text that was being written."""
        with self._reading() as db:
            found = db.execute(
                "SELECT text FROM unfinished WHERE chat_id = ? AND message_id IS ?", (chat_id, message_id)
            ).fetchone()
        return None if found is None else found[0]

    def left_behind(self) -> list[Left]:
        """What nobody alive writes any more in conversations that are not deleted, the last used ones first.

        A draft without any message is not among it: that one is laid open (see ``abandoned_draft``).
        """
        with self._reading() as db:
            rows = [(*row, "draft") for row in db.execute(_DRAFTS)]
            rows += [
                (holder, chat_id, title, "system" if message_id is None else "edit")
                for holder, chat_id, title, message_id in db.execute(_UNFINISHED)
            ]
        return [
            Left(kind, chat_id, title)
            for holder, chat_id, title, kind in rows
            if holder is None or not self._holder.is_alive(holder)
        ]
