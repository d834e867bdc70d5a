"""Full-text search over titles and messages."""

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


class SearchRows(Database):
    """The indexes ``title_search`` and ``message_search``, which triggers hold true (see migrations.py)."""

    def search(self, text: str, limit: int = 50) -> list[Hit]:
        """Where all words of ``text`` are: titles, then messages of any branch, newest first.

        At most half of the hits are titles. Words of two letters and more are found from their beginnings. Deleted
        conversations, and answers that are being written, are not searched. Nothing that can be typed is an error.
        """
        from localqwen.chats.query import parse

        query = parse(text)
        if not query:
            return []
        titles, messages = (_TITLES, _MESSAGES) if query.match else (_TITLES_AS_THEY_STAND, _MESSAGES_AS_THEY_STAND)
        found = self._find(titles, "chat.title", query, (limit + 1) // 2)
        return found + self._find(messages, "message.text", query, limit - len(found))

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
