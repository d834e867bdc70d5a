"""Full-text search over titles, messages and the files that went with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localqwen.chats.database import Database
from localqwen.chats.rows import storable

if TYPE_CHECKING:
    from localqwen.chats.query import Hit, Query

# The newest first, which the index can give without looking at the rest; the best would need all that match.
_TITLES = """
SELECT chat.id, NULL, chat.title, chat.title
FROM title_search JOIN chat ON chat.id = title_search.rowid
WHERE title_search MATCH :match AND deleted_at IS NULL {contained}
ORDER BY title_search.rowid DESC LIMIT :limit
"""
_MESSAGES = """
SELECT chat.id, message.id, chat.title, message.text
FROM message_search CROSS JOIN message ON message.id = message_search.rowid CROSS JOIN chat ON chat.id = chat_id
WHERE message_search MATCH :match AND deleted_at IS NULL {contained}
ORDER BY message_search.rowid DESC LIMIT :limit
"""
_TITLES_AS_THEY_STAND = """
SELECT id, NULL, title, title FROM chat WHERE deleted_at IS NULL {contained} ORDER BY id DESC LIMIT :limit
"""
_MESSAGES_AS_THEY_STAND = """
SELECT chat.id, message.id, chat.title, message.text
FROM message CROSS JOIN chat ON chat.id = chat_id
WHERE deleted_at IS NULL AND state <> 'streaming' {contained}
ORDER BY message.id DESC LIMIT :limit
"""
# Messages with files that may be what is looked for. FTS5 keeps the size of what it has indexed, and not the texts.
_FILES = "SELECT rowid FROM file_search WHERE file_search MATCH ? ORDER BY rowid DESC LIMIT ?"
_FILES_AS_THEY_STAND = "SELECT id FROM file_search_docsize WHERE ? = '' ORDER BY id DESC LIMIT ?"
_FILE = """
SELECT chat.id, chat.title, files FROM message_files JOIN message ON message.id = message_files.id
JOIN chat ON chat.id = chat_id WHERE message_files.id = ? AND deleted_at IS NULL
"""
# Each may have megabytes, which are read for its snippet: so many hits, and so many looked at.
MOST_FILES = 8
MOST_FILES_LOOKED_AT = 100


class SearchRows(Database):
    """The indexes ``title_search``, ``message_search`` and ``file_search``.

    Triggers hold them true (see migrations.py). System prompts have none: the settings' own is in every conversation,
    and would find them all.
    """

    def search(self, text: str, limit: int = 50) -> list[Hit]:
        """Where all words of ``text`` are: titles, then messages of any branch, then files of others, newest first.

        At most half of the hits are titles, and a quarter or :data:`MOST_FILES` are files, of which the first 200,000
        characters are searched. Words of two letters and more are found from their beginnings. Deleted conversations,
        and answers that are being written, are not searched. Nothing that can be typed is an error.
        """
        from localqwen.chats.query import parse

        query = parse(text)
        if not query:
            return []
        titles, messages = (_TITLES, _MESSAGES) if query.match else (_TITLES_AS_THEY_STAND, _MESSAGES_AS_THEY_STAND)
        found = self._find(titles, "chat.title", query, (limit + 1) // 2)
        in_files = self._find_in_files(query, min(limit // 4, MOST_FILES))
        found += self._find(messages, "message.text", query, limit - len(found) - len(in_files))
        known = {hit.message_id for hit in found}
        return found + [hit for hit in in_files if hit.message_id not in known]

    def _find(self, statement: str, searched: str, query: Query, limit: int) -> list[Hit]:
        if limit <= 0:
            return []
        from localqwen.chats.query import Hit, occurrences, snippet

        contained = "".join(f" AND instr({searched}, :word{n})" for n in range(len(query.contained)))
        values: dict[str, str | int] = {f"word{n}": storable(word) for n, word in enumerate(query.contained)}
        values |= {"match": storable(query.match), "limit": limit}
        with self._reading() as db:
            rows = db.execute(statement.format(contained=contained), values).fetchall()
        return [
            Hit(chat_id, message_id, title, *snippet(text, occurrences(text, query)))
            for chat_id, message_id, title, text in rows
        ]

    def _find_in_files(self, query: Query, limit: int) -> list[Hit]:
        from localqwen.chats.query import Hit, occurrences, snippet

        statement = _FILES if query.match else _FILES_AS_THEY_STAND
        with self._reading() as db:
            ids = db.execute(statement, (storable(query.match), MOST_FILES_LOOKED_AT if limit else 0)).fetchall()
        found: list[Hit] = []
        for (message_id,) in ids:
            if len(found) >= limit:
                break
            # One at a time: what else is kept meanwhile must not wait for all of them.
            with self._reading() as db:
                row = db.execute(_FILE, (message_id,)).fetchone()
            chat_id, title, files = row or (0, "", None)
            if files is not None and all(word in files for word in query.contained):
                found.append(Hit(chat_id, message_id, title, *snippet(files, occurrences(files, query)), is_file=True))
        return found
