"""A whole conversation as JSON: every branch, the settings, the statistics."""

from __future__ import annotations

import json
from dataclasses import asdict

from localqwen.chats.attachment import Attachment
from localqwen.chats.fields import Fields, TransferError
from localqwen.chats.rows import params_dict
from localqwen.chats.transfer import LATEST, Transfer, message_from, message_values, params_from
from localqwen.chats.tree import Message

FORMAT = "localqwen-chat"
VERSION = 1


def to_json(transfer: Transfer) -> str:
    """Write a conversation down."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "title": transfer.title,
        "created": transfer.created,
        "updated": transfer.updated,
        "pinned": transfer.pinned,
        "system": transfer.system,
        "params": params_dict(transfer.params),
        "tip": transfer.tip,
        "messages": [
            {
                "id": message.id,
                "parent": message.parent_id,
                **message_values(message),
                "text": message.text,
                "attachments": [asdict(attachment) for attachment in message.attachments],
            }
            for message in transfer.messages
        ],
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def from_json(text: str) -> Transfer:
    """Read what :func:`to_json` wrote.

    Raises:
        TransferError: It is something else; the message says where.
    """
    fields = Fields.parse(text, "the file")
    check_version(fields)
    messages: list[Message] = []
    numbers: dict[int, int] = {}
    for place, one in enumerate(fields.objects("messages", "message"), 1):
        own, parent = one.optional_integer("id"), one.optional_integer("parent")
        if own is None or own in numbers:
            raise TransferError(f"message {place} has no 'id' of its own")
        if parent is not None and parent not in numbers:
            raise TransferError(f"message {place} answers a message that does not come before it")
        numbers[own] = place
        attachments = tuple(
            Attachment(file.text("name"), file.text("text")) for file in one.objects("attachments", "attachment")
        )
        above = numbers[parent] if parent is not None else None
        messages.append(message_from(one, place, above, one.text("text"), attachments))
    tip = fields.optional_integer("tip")
    if tip not in numbers and (tip is not None or messages):
        raise TransferError("the file does not say which message is shown last ('tip')")
    return Transfer(
        fields.text("title"),
        fields.number("created", 0, LATEST),
        fields.number("updated", 0, LATEST),
        fields.text("system"),
        params_from(fields.nested("params")),
        tuple(messages),
        numbers[tip] if tip is not None else None,
        fields.flag("pinned"),
    )


def check_version(fields: Fields) -> None:
    """Refuse other formats, and newer versions of this one."""
    if not fields.has("format") or fields.text("format") != FORMAT:
        raise TransferError(f"it does not say {FORMAT!r}")
    version = fields.optional_integer("version")
    if version is None or version < 1:
        raise TransferError("the file has no proper 'version'")
    if version > VERSION:
        raise TransferError("a newer localqwen wrote it; update this one")
