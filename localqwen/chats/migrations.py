"""The schema of the conversations, as steps. ``PRAGMA user_version`` counts the steps a file has taken.

A step never changes once it has been released; a new need gets a new step at the end.
"""

from __future__ import annotations

import sqlite3

from localqwen.errors import LocalqwenError

# One tuple of statements per step, with the reason for it.
STEPS: tuple[tuple[str, ...], ...] = (
    # 1: conversations as trees.
    # - AUTOINCREMENT: two processes may hold ids, so an id must never come back with another meaning.
    # - `holder` is the writer (see holders.py) that streams a message or types a draft: what a dead holder left
    #   open is recovered at the next start, what a living one writes is left alone.
    # - `params` and `stats` are JSON, because they are only ever read as a whole and gain fields over time.
    # - `message_open` finds unfinished answers without reading every message at each start.
    (
        """
        CREATE TABLE chat (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            title TEXT NOT NULL DEFAULT '',
            tip INTEGER REFERENCES message(id) ON DELETE SET NULL,
            created REAL NOT NULL,
            updated REAL NOT NULL,
            deleted_at REAL,
            draft TEXT NOT NULL DEFAULT '',
            holder TEXT
        ) STRICT
        """,
        """
        CREATE TABLE message (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            chat_id INTEGER NOT NULL REFERENCES chat(id) ON DELETE CASCADE,
            parent_id INTEGER REFERENCES message(id) ON DELETE CASCADE,
            role TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant')),
            text TEXT NOT NULL DEFAULT '',
            state TEXT NOT NULL CHECK (state IN ('streaming', 'done', 'stopped', 'error')),
            created REAL NOT NULL,
            model TEXT,
            params TEXT NOT NULL DEFAULT '{}',
            stats TEXT,
            error TEXT,
            holder TEXT
        ) STRICT
        """,
        "CREATE INDEX message_chat ON message(chat_id)",
        "CREATE INDEX message_parent ON message(parent_id)",
        "CREATE INDEX message_open ON message(state) WHERE state = 'streaming'",
        "CREATE INDEX chat_updated ON chat(updated) WHERE deleted_at IS NULL",
    ),
)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a database up to date; each step is one transaction, so that a kill leaves a whole schema.

    Raises:
        LocalqwenError: The file was written by a newer localqwen.
    """
    if _version(connection) == len(STEPS):
        return
    # The version is read again inside the transaction: another terminal may be migrating at this moment.
    while True:
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = _version(connection)
            if version > len(STEPS):
                raise LocalqwenError(
                    "the conversations were written by a newer localqwen; update this one, "
                    "or set LOCALQWEN_HOME to another folder"
                )
            if version == len(STEPS):
                return
            for statement in STEPS[version]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version
