"""Taking in a conversation that was written to a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localqwen.chats.message_store import MessageRows
from localqwen.chats.rows import attachments_json, params_json, storable, usage_json
from localqwen.chats.tree import Chat

if TYPE_CHECKING:
    from localqwen.chats.transfer import Transfer


class TransferRows(MessageRows):
    """Conversations from elsewhere."""

    def add(self, transfer: Transfer) -> Chat:
        """Keep a conversation as a new one, with its own dates; all or nothing."""
        ids: dict[int | None, int | None] = {None: None}
        with self._writing() as db:
            chat_id = db.execute(
                "INSERT INTO chat (title, created, updated, pinned, system, params) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    storable(transfer.title),
                    transfer.created,
                    transfer.updated,
                    int(transfer.pinned),
                    storable(transfer.system),
                    params_json(transfer.params),
                ),
            ).lastrowid
            assert chat_id is not None
            for message in transfer.messages:
                ids[message.id] = db.execute(
                    "INSERT INTO message "
                    "(chat_id, parent_id, role, text, state, created, model, params, stats, error, attachments, cut) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        chat_id,
                        ids[message.parent_id],
                        message.role,
                        storable(message.text),
                        message.state,
                        message.created,
                        None if message.model is None else storable(message.model),
                        params_json(message.params),
                        usage_json(message.usage),
                        None if message.error is None else storable(message.error),
                        attachments_json(message.attachments),
                        int(message.is_cut),
                    ),
                ).lastrowid
            db.execute("UPDATE chat SET tip = ? WHERE id = ?", (ids[transfer.tip], chat_id))
        return self.chat(chat_id)
