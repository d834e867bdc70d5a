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
    # 2: what a conversation can be told and asked, and finding it again.
    # - `params` and `attachments` are JSON for the reason of step 1; of `params`, absent fields are the model's choice.
    # - A draft's attachments have a table of their own: SQLite writes whole rows, and the draft is written several
    #   times a second. The same goes for reading: the list of conversations must not pull them from the disk.
    # - The search indexes have no copy of the texts; the triggers hold them true. An answer is indexed when it ends
    #   (and taken out when it is continued), for indexing it several times a second would cost more than writing it.
    # - `prefix` answers a word of two or three letters, which is what is typed first, from an index of its own.
    # - `chat_listed` is the order of the list, so that its first page costs the same however many there are.
    (
        "ALTER TABLE chat ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0 CHECK (pinned IN (0, 1))",
        "ALTER TABLE chat ADD COLUMN system TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE chat ADD COLUMN params TEXT NOT NULL DEFAULT '{}'",
        "ALTER TABLE message ADD COLUMN attachments TEXT NOT NULL DEFAULT '[]'",
        """
        CREATE TABLE draft_attachments (
            chat_id INTEGER PRIMARY KEY REFERENCES chat(id) ON DELETE CASCADE,
            attachments TEXT NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE queued (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            chat_id INTEGER NOT NULL REFERENCES chat(id) ON DELETE CASCADE,
            text TEXT NOT NULL,
            attachments TEXT NOT NULL DEFAULT '[]'
        ) STRICT
        """,
        "CREATE INDEX queued_chat ON queued(chat_id)",
        """
        CREATE TABLE preset (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT NOT NULL UNIQUE,
            system TEXT NOT NULL DEFAULT '',
            params TEXT NOT NULL DEFAULT '{}'
        ) STRICT
        """,
        "DROP INDEX chat_updated",
        "CREATE INDEX chat_listed ON chat(pinned DESC, updated DESC, id DESC) WHERE deleted_at IS NULL",
        "CREATE INDEX chat_unasked ON chat(updated DESC) WHERE deleted_at IS NULL AND tip IS NULL",
        "CREATE INDEX chat_deleted ON chat(deleted_at) WHERE deleted_at IS NOT NULL",
        # A deleted message must be found in `chat.tip` without reading every conversation.
        "CREATE INDEX chat_tip ON chat(tip) WHERE tip IS NOT NULL",
        """
        CREATE VIRTUAL TABLE message_search USING fts5 (
            text, content='message', content_rowid='id', prefix='2 3', tokenize='unicode61 remove_diacritics 2'
        )
        """,
        """
        CREATE VIRTUAL TABLE title_search USING fts5 (
            title, content='chat', content_rowid='id', prefix='2 3', tokenize='unicode61 remove_diacritics 2'
        )
        """,
        "INSERT INTO message_search (rowid, text) SELECT id, text FROM message WHERE state <> 'streaming'",
        "INSERT INTO title_search (rowid, title) SELECT id, title FROM chat",
        """
        CREATE TRIGGER message_found AFTER INSERT ON message WHEN new.state <> 'streaming' BEGIN
            INSERT INTO message_search (rowid, text) VALUES (new.id, new.text);
        END
        """,
        """
        CREATE TRIGGER message_lost AFTER DELETE ON message WHEN old.state <> 'streaming' BEGIN
            INSERT INTO message_search (message_search, rowid, text) VALUES ('delete', old.id, old.text);
        END
        """,
        """
        CREATE TRIGGER message_changed AFTER UPDATE OF text, state ON message WHEN old.state <> 'streaming' BEGIN
            INSERT INTO message_search (message_search, rowid, text) VALUES ('delete', old.id, old.text);
            INSERT INTO message_search (rowid, text) SELECT new.id, new.text WHERE new.state <> 'streaming';
        END
        """,
        """
        CREATE TRIGGER message_ended AFTER UPDATE OF text, state ON message
        WHEN old.state = 'streaming' AND new.state <> 'streaming' BEGIN
            INSERT INTO message_search (rowid, text) VALUES (new.id, new.text);
        END
        """,
        """
        CREATE TRIGGER chat_found AFTER INSERT ON chat BEGIN
            INSERT INTO title_search (rowid, title) VALUES (new.id, new.title);
        END
        """,
        """
        CREATE TRIGGER chat_lost AFTER DELETE ON chat BEGIN
            INSERT INTO title_search (title_search, rowid, title) VALUES ('delete', old.id, old.title);
        END
        """,
        """
        CREATE TRIGGER chat_renamed AFTER UPDATE OF title ON chat BEGIN
            INSERT INTO title_search (title_search, rowid, title) VALUES ('delete', old.id, old.title);
            INSERT INTO title_search (rowid, title) VALUES (new.id, new.title);
        END
        """,
    ),
    # 3: nothing that is typed is lost, in dialogs as well.
    # - `unfinished` is another text of a message, or where `message_id` is NULL of the system prompt, that is being
    #   written; `holder` is who writes it, as in step 1. It is no column of `message`, whose rows may be large.
    # - `chat_drafted` finds the drafts that were left behind without reading every conversation at each start.
    (
        """
        CREATE TABLE unfinished (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            chat_id INTEGER NOT NULL REFERENCES chat(id) ON DELETE CASCADE,
            message_id INTEGER REFERENCES message(id) ON DELETE CASCADE,
            text TEXT NOT NULL,
            holder TEXT
        ) STRICT
        """,
        "CREATE INDEX unfinished_chat ON unfinished(chat_id)",
        "CREATE INDEX unfinished_message ON unfinished(message_id) WHERE message_id IS NOT NULL",
        "CREATE INDEX chat_drafted ON chat(updated DESC) WHERE deleted_at IS NULL AND draft <> ''",
    ),
    # 4: whether an answer ended because it was as long as it may be. It is no state: it is an answer that is done.
    ("ALTER TABLE message ADD COLUMN cut INTEGER NOT NULL DEFAULT 0 CHECK (cut IN (0, 1))",),
    # 5: when the system prompt was changed: what older answers were made from had another number of tokens.
    ("ALTER TABLE chat ADD COLUMN system_changed REAL NOT NULL DEFAULT 0",),
    # 6: finding files again that went with messages, by their names and texts.
    # - An index of its own, so that what messages say is found as before. No index of prefixes: a file is indexed
    #   before its message goes out, and that would double the time.
    # - The view is what the index has no copy of. Whatever is in `attachments`, it raises nothing. FTS5 cannot be told
    #   of it, because some versions refuse a content of which json_each() is a part.
    # - So much of the files and no more: megabytes would keep the file busy, and other answers from it, for seconds.
    # - Attachments never change, so there is no trigger for that; a message's must be read before it is gone.
    (
        """
        CREATE VIEW message_files AS SELECT id, (
            SELECT substr(
                group_concat(json_extract(value, '$.name') || char(10) || json_extract(value, '$.text'), char(10)),
                1, 200000
            )
            FROM json_each(CASE WHEN json_valid(attachments) THEN attachments ELSE '[]' END) WHERE type = 'object'
        ) AS files FROM message WHERE attachments <> '[]'
        """,
        "CREATE VIRTUAL TABLE file_search USING fts5 (files, content='', tokenize='unicode61 remove_diacritics 2')",
        "INSERT INTO file_search (rowid, files) SELECT id, files FROM message_files",
        """
        CREATE TRIGGER files_found AFTER INSERT ON message WHEN new.attachments <> '[]' BEGIN
            INSERT INTO file_search (rowid, files) SELECT id, files FROM message_files WHERE id = new.id;
        END
        """,
        """
        CREATE TRIGGER files_lost BEFORE DELETE ON message WHEN old.attachments <> '[]' BEGIN
            INSERT INTO file_search (file_search, rowid, files)
            SELECT 'delete', id, files FROM message_files WHERE id = old.id;
        END
        """,
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
