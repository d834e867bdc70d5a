"""Conversations in one SQLite file.

Write-ahead logging lets a second terminal read while this one writes. ``synchronous=FULL`` is on purpose: a commit
then survives a power cut and not only a kill, and costs a quarter of a millisecond on an SSD, four times a second.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from localqwen.chats.holders import Holder
from localqwen.chats.migrations import migrate
from localqwen.chats.tree import Chat, Message, MessageState, Tree, title_from
from localqwen.errors import LocalqwenError
from localqwen.events import Usage
from localqwen.params import SamplingParams

BUSY_SECONDS = 10.0

_CHAT = "id, title, tip, created, updated, draft"
_MESSAGE = "id, chat_id, parent_id, role, text, state, created, model, params, stats, error"


class ChatStoreError(LocalqwenError):
    """The conversations cannot be read or written."""


class Store:
    """The conversations of one file. Every method is one transaction and may be called from any thread."""

    def __init__(self, path: Path) -> None:
        """Open or create ``path`` and finish what dead processes left open.

        Raises:
            ChatStoreError: The file is damaged, locked for long, or in a folder that cannot be written.
            LocalqwenError: A newer localqwen wrote it.
        """
        self.path = path
        self._lock = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._holder = Holder(path.with_name(path.name + ".holders"))
        except OSError as error:
            raise ChatStoreError(f"cannot keep conversations in {path.parent}: {error.strerror or error}") from None
        with self._sentences():
            # isolation_level=None: transactions begin and end where this module says so.
            self._db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA foreign_keys = ON")
            migrate(self._db)
        self._recover()

    def close(self) -> None:
        """Close the file; the store cannot be used afterwards."""
        with self._lock:
            self._db.close()
            self._holder.release()

    # -- reading ---------------------------------------------------------------------------------------------------

    def chats(self, limit: int = 500) -> list[Chat]:
        """The conversations that are not deleted, last used first."""
        with self._reading() as db:
            rows = db.execute(
                f"SELECT {_CHAT} FROM chat WHERE deleted_at IS NULL ORDER BY updated DESC, id DESC LIMIT ?", (limit,)
            )
            return [Chat(*row) for row in rows]

    def chat(self, chat_id: int) -> Chat:
        """One conversation.

        Raises:
            ChatStoreError: There is none with this id.
        """
        with self._reading() as db:
            row = db.execute(f"SELECT {_CHAT} FROM chat WHERE id = ?", (chat_id,)).fetchone()
        if row is None:
            raise ChatStoreError(f"there is no conversation {chat_id} any more; choose another one")
        return Chat(*row)

    def tree(self, chat_id: int) -> Tree:
        """All messages of a conversation."""
        with self._reading() as db:
            rows = db.execute(f"SELECT {_MESSAGE} FROM message WHERE chat_id = ? ORDER BY id", (chat_id,))
            return Tree(map(_message, rows))

    def abandoned_draft(self) -> Chat | None:
        """The newest conversation of which there is only a draft, and nobody alive who types it."""
        with self._reading() as db:
            rows = db.execute(
                f"SELECT {_CHAT}, holder FROM chat "
                "WHERE deleted_at IS NULL AND tip IS NULL AND draft <> '' ORDER BY updated DESC"
            ).fetchall()
        for *chat, holder in rows:
            if holder is None or not self._holder.is_alive(holder):
                return Chat(*chat)
        return None

    # -- writing ---------------------------------------------------------------------------------------------------

    def create_chat(self) -> Chat:
        """An empty conversation."""
        now = time.time()
        with self._writing() as db:
            cursor = db.execute("INSERT INTO chat (created, updated) VALUES (?, ?)", (now, now))
        assert cursor.lastrowid is not None
        return Chat(cursor.lastrowid, "", None, now, now)

    def save_draft(self, chat_id: int, text: str) -> None:
        """Keep what is typed and not sent."""
        with self._writing() as db:
            db.execute(
                "UPDATE chat SET draft = ?, holder = ? WHERE id = ?", (_storable(text), self._holder.name, chat_id)
            )

    def discard_if_empty(self, chat_id: int) -> bool:
        """Remove a conversation that has neither messages nor a draft; tell whether it had to go."""
        with self._writing() as db:
            cursor = db.execute(
                "DELETE FROM chat WHERE id = ? AND draft = '' "
                "AND NOT EXISTS (SELECT 1 FROM message WHERE chat_id = chat.id)",
                (chat_id,),
            )
            return cursor.rowcount > 0

    def ask(self, chat_id: int, parent_id: int | None, text: str) -> Message:
        """Add a person's message, make it the tip, and clear the draft it came from; all or nothing."""
        with self._writing() as db:
            message = self._insert(chat_id, parent_id, "user", text, "done", SamplingParams())
            db.execute("UPDATE chat SET draft = '', holder = NULL WHERE id = ?", (chat_id,))
            db.execute("UPDATE chat SET title = ? WHERE id = ? AND title = ''", (_storable(title_from(text)), chat_id))
        return message

    def begin_answer(self, chat_id: int, parent_id: int, params: SamplingParams) -> Message:
        """Add an empty answer in state ``streaming`` and make it the tip."""
        with self._writing():
            return self._insert(chat_id, parent_id, "assistant", "", "streaming", params)

    def save_answer(self, message_id: int, text: str) -> None:
        """Keep what there is of an answer.

        An answer that has ended is left alone: a slow thread may bring an older text after the last one.
        """
        with self._writing() as db:
            db.execute(
                "UPDATE message SET text = ? WHERE id = ? AND state = 'streaming'", (_storable(text), message_id)
            )

    def finish_answer(self, message: Message) -> None:
        """Keep an answer that has ended: its text, state, model, statistics and error."""
        with self._writing() as db:
            db.execute(
                "UPDATE message SET text = ?, state = ?, model = ?, stats = ?, error = ?, holder = NULL WHERE id = ?",
                (
                    _storable(message.text),
                    message.state,
                    message.model,
                    None if message.usage is None else json.dumps(asdict(message.usage)),
                    None if message.error is None else _storable(message.error),
                    message.id,
                ),
            )

    # -- inside ----------------------------------------------------------------------------------------------------

    def _insert(
        self, chat_id: int, parent_id: int | None, role: str, text: str, state: MessageState, params: SamplingParams
    ) -> Message:
        now = time.time()
        cursor = self._db.execute(
            "INSERT INTO message (chat_id, parent_id, role, text, state, created, params, holder) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                chat_id,
                parent_id,
                role,
                _storable(text),
                state,
                now,
                _params_json(params),
                self._holder.name if state == "streaming" else None,
            ),
        )
        self._db.execute("UPDATE chat SET tip = ?, updated = ? WHERE id = ?", (cursor.lastrowid, now, chat_id))
        row = self._db.execute(f"SELECT {_MESSAGE} FROM message WHERE id = ?", (cursor.lastrowid,)).fetchone()
        return _message(row)

    def _recover(self) -> None:
        with self._reading() as db:
            holders = db.execute("SELECT DISTINCT holder FROM message WHERE state = 'streaming'").fetchall()
        dead = [holder for (holder,) in holders if holder is None or not self._holder.is_alive(holder)]
        if dead:
            with self._writing() as db:
                db.executemany(
                    "UPDATE message SET state = 'stopped', holder = NULL WHERE state = 'streaming' AND holder IS ?",
                    [(holder,) for holder in dead],
                )

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._sentences():
            yield self._db

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._sentences():
            # IMMEDIATE waits for another terminal here, where busy_timeout works, and not in the middle.
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise ChatStoreError(
                f"the conversations in {self.path} cannot be used ({error}); "
                "check the disk, or set LOCALQWEN_HOME to another folder"
            ) from error


def _params_json(params: SamplingParams) -> str:
    return json.dumps({name: value for name, value in asdict(params).items() if value not in (None, ())})


def _message(row: tuple[Any, ...]) -> Message:
    message_id, chat_id, parent_id, role, text, state, created, model, params, stats, error = row
    return Message(
        message_id,
        chat_id,
        parent_id,
        role,
        text,
        state,
        created,
        model,
        params=SamplingParams(**_known(SamplingParams, params)),
        usage=None if stats is None else Usage(**_known(Usage, stats)),
        error=error,
    )


def _known(kind: type, text: str) -> dict[str, Any]:
    """A dataclass's fields from JSON; those that this version does not know are left out, damage counts as nothing."""
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        return {}
    names = {field.name for field in fields(kind)}
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items() if name in names}


def _storable(text: str) -> str:
    """SQLite keeps UTF-8, which has no lone surrogates; a server may send one in a JSON escape."""
    return text.encode("utf-8", "replace").decode("utf-8") if not text.isascii() else text
