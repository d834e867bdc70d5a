"""Messages, and the queue of those that wait for their turn."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from localqwen.chats.attachment import Attachment
from localqwen.chats.chat_store import MODEL_DEFAULTS, ChatRows
from localqwen.chats.database import ChatStoreError
from localqwen.chats.rows import (
    MESSAGE,
    attachments_json,
    attachments_of,
    message_of,
    params_json,
    storable,
    usage_json,
)
from localqwen.chats.tree import Message, MessageState, Queued, Tree, title_from
from localqwen.params import Role, SamplingParams

# The messages of one conversation may be large; none is read to find what was left open.
OPEN = "SELECT DISTINCT holder FROM message WHERE state = 'streaming'"


class MessageRows(ChatRows):
    """The tables ``message`` and ``queued``."""

    def __init__(self, path: Path) -> None:
        """See :class:`Database`."""
        self._owed: dict[int, Message] = {}
        super().__init__(path)

    def tree(self, chat_id: int) -> Tree:
        """All messages of a conversation."""
        with self._reading() as db:
            rows = db.execute(f"SELECT {MESSAGE} FROM message WHERE chat_id = ? ORDER BY id", (chat_id,))
            return Tree(map(message_of, rows))

    def ask(
        self,
        chat_id: int,
        parent_id: int | None,
        text: str,
        attachments: Sequence[Attachment] = (),
        *,
        keep_draft: bool = False,
    ) -> Message:
        """Add a person's message, make it the tip, and clear the draft it came from; all or nothing."""
        with self._writing() as db:
            message = self._insert(chat_id, parent_id, "user", text, attachments=attachments)
            if not keep_draft:
                self._clear_draft(db, chat_id)
            self._entitle(db, chat_id, message)
        return message

    def branch(self, replaced: Message, text: str, attachments: Sequence[Attachment] = ()) -> Message:
        """Add a finished message beside ``replaced``, in its role, and make it the tip. The draft stays.

        What was being written in its place is not unfinished any more.
        """
        with self._writing() as db:
            db.execute("DELETE FROM unfinished WHERE message_id = ?", (replaced.id,))
            return self._insert(
                replaced.chat_id,
                replaced.parent_id,
                replaced.role,
                text,
                params=replaced.params,
                model=replaced.model,
                attachments=attachments,
            )

    def sent_texts(self, limit: int) -> list[str]:
        """What was asked last in all conversations that are not deleted, oldest first."""
        with self._reading() as db:
            rows = db.execute(
                "SELECT text FROM message WHERE role = 'user' AND text <> '' "
                "AND chat_id IN (SELECT id FROM chat WHERE deleted_at IS NULL) ORDER BY id DESC LIMIT ?",
                (limit,),
            ).fetchall()
        return [text for (text,) in reversed(rows)]

    def set_tip(self, chat_id: int, message_id: int) -> None:
        """Show another path of a conversation."""
        self._update(chat_id, "tip = ?", message_id)

    # -- answers ---------------------------------------------------------------------------------------------------

    def begin_answer(self, chat_id: int, parent_id: int, params: SamplingParams) -> Message:
        """Add an empty answer in state ``streaming`` and make it the tip."""
        with self._writing():
            return self._insert(chat_id, parent_id, "assistant", "", state="streaming", params=params)

    def resume_answer(self, message_id: int, params: SamplingParams) -> Message:
        """Open an answer that has ended, to add to it. Its statistics stay as they are until it ends again.

        Raises:
            ChatStoreError: It is gone, or somebody else writes it.
        """
        with self._writing() as db:
            opened = db.execute(
                "UPDATE message SET state = 'streaming', error = NULL, cut = 0, params = ?, holder = ? "
                "WHERE id = ? AND role = 'assistant' AND state <> 'streaming'",
                (params_json(params), self._holder.name, message_id),
            ).rowcount
            if not opened:
                raise ChatStoreError("this answer is being written by another window; wait for it to end there")
            # Who goes on with a conversation that another window has deleted, or shows elsewhere, wants it so.
            db.execute(
                "UPDATE chat SET updated = ?1, deleted_at = NULL, tip = ?2 "
                "WHERE id = (SELECT chat_id FROM message WHERE id = ?2)",
                (time.time(), message_id),
            )
            return message_of(db.execute(f"SELECT {MESSAGE} FROM message WHERE id = ?", (message_id,)).fetchone())

    def save_answer(self, message_id: int, text: str) -> None:
        """Keep what there is of an answer.

        A slow thread may bring an older text after a newer one: an answer that has ended is left alone, and one that
        goes on only ever grows.
        """
        with self._writing() as db:
            db.execute(
                "UPDATE message SET text = ?1 WHERE id = ?2 AND state = 'streaming' "
                # length() of a text would end at the first NUL.
                "AND length(CAST(text AS BLOB)) <= length(CAST(?1 AS BLOB))",
                (storable(text), message_id),
            )

    def finish_answer(self, message: Message) -> None:
        """Keep an answer that has ended: its text, state, model, statistics and error, and whether it was cut.

        What cannot be kept now is kept together with whatever is written next.
        """
        self._owed[message.id] = message
        self.settle()

    @property
    def owes(self) -> bool:
        """Whether the end of an answer is not kept yet."""
        return bool(self._owed)

    def settle(self) -> None:
        """Keep the ends of answers that could not be kept before."""
        with self._writing():
            pass  # that is what it begins with

    def close(self) -> None:
        """Close the file, after a last attempt to keep everything."""
        if self._owed:
            with suppress(ChatStoreError):
                self.settle()
        super().close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with super()._writing() as db:
            owed = dict(self._owed)
            for message in owed.values():
                _finish(db, message)
            yield db
        for number, message in owed.items():
            if self._owed.get(number) is message:
                del self._owed[number]

    # -- the queue -------------------------------------------------------------------------------------------------

    def queue(self, chat_id: int) -> list[Queued]:
        """What waits for its turn in a conversation, first come first."""
        with self._reading() as db:
            rows = db.execute("SELECT id, text, attachments FROM queued WHERE chat_id = ? ORDER BY id", (chat_id,))
            return [Queued(queued_id, text, attachments_of(files)) for queued_id, text, files in rows]

    def chats_with_queue(self) -> list[int]:
        """The conversations that are not deleted and in which something waits, for instance since a kill."""
        with self._reading() as db:
            rows = db.execute(
                "SELECT DISTINCT chat_id FROM queued JOIN chat ON chat.id = chat_id "
                "WHERE deleted_at IS NULL ORDER BY chat_id"
            )
            return [chat_id for (chat_id,) in rows]

    def enqueue(self, chat_id: int, text: str, attachments: Sequence[Attachment] = ()) -> Queued:
        """Add to the queue's end, and clear the draft it came from; all or nothing."""
        with self._writing() as db:
            cursor = db.execute(
                "INSERT INTO queued (chat_id, text, attachments) VALUES (?, ?, ?)",
                (chat_id, storable(text), attachments_json(attachments)),
            )
            db.execute("UPDATE chat SET deleted_at = NULL WHERE id = ?", (chat_id,))
            self._clear_draft(db, chat_id)
        assert cursor.lastrowid is not None
        return Queued(cursor.lastrowid, storable(text), tuple(attachments))

    def ask_queued(self, chat_id: int, parent_id: int | None, queued: Queued) -> Message | None:
        """Make a queued message the tip, and take it out of the queue; all or nothing. The draft stays.

        ``None`` when it is in the queue no more: another window was faster.
        """
        with self._writing() as db:
            if not db.execute("DELETE FROM queued WHERE id = ?", (queued.id,)).rowcount:
                return None
            message = self._insert(chat_id, parent_id, "user", queued.text, attachments=queued.attachments)
            self._entitle(db, chat_id, message)
            return message

    def dequeue(self, queued_id: int) -> bool:
        """Forget a queued message; ``False`` when it is in the queue no more."""
        with self._writing() as db:
            return db.execute("DELETE FROM queued WHERE id = ?", (queued_id,)).rowcount > 0

    # -- inside ----------------------------------------------------------------------------------------------------

    def _insert(
        self,
        chat_id: int,
        parent_id: int | None,
        role: Role,
        text: str,
        *,
        state: MessageState = "done",
        params: SamplingParams = MODEL_DEFAULTS,
        model: str | None = None,
        attachments: Sequence[Attachment] = (),
    ) -> Message:
        now = time.time()
        holder = self._holder.name if state == "streaming" else None
        cursor = self._db.execute(
            "INSERT INTO message (chat_id, parent_id, role, text, state, created, model, params, attachments, holder) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                chat_id,
                parent_id,
                role,
                storable(text),
                state,
                now,
                None if model is None else storable(model),
                params_json(params),
                attachments_json(attachments),
                holder,
            ),
        )
        # Who goes on with a conversation that another window has deleted wants to keep it.
        self._db.execute(
            "UPDATE chat SET tip = ?, updated = ?, deleted_at = NULL WHERE id = ?", (cursor.lastrowid, now, chat_id)
        )
        row = self._db.execute(f"SELECT {MESSAGE} FROM message WHERE id = ?", (cursor.lastrowid,)).fetchone()
        return message_of(row)

    @staticmethod
    def _entitle(db: sqlite3.Connection, chat_id: int, first: Message) -> None:
        title = title_from(first.text) or title_from(" ".join(one.name for one in first.attachments))
        db.execute("UPDATE chat SET title = ? WHERE id = ? AND title = ''", (title, chat_id))

    def _recover(self) -> None:
        with self._reading() as db:
            holders = db.execute(OPEN).fetchall()
        dead = [holder for (holder,) in holders if holder is None or not self._holder.is_alive(holder)]
        if dead:
            with self._writing() as db:
                db.executemany(
                    "UPDATE message SET state = 'stopped', holder = NULL WHERE state = 'streaming' AND holder IS ?",
                    [(holder,) for holder in dead],
                )


def _finish(db: sqlite3.Connection, message: Message) -> None:
    db.execute(
        "UPDATE message SET text = ?, state = ?, model = ?, stats = ?, error = ?, cut = ?, holder = NULL WHERE id = ?",
        (
            storable(message.text),
            message.state,
            None if message.model is None else storable(message.model),
            usage_json(message.usage),
            None if message.error is None else storable(message.error),
            int(message.is_cut),
            message.id,
        ),
    )
