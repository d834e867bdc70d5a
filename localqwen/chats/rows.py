"""Values as they lie in the database: which columns, and what in them is JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from localqwen.chats.attachment import Attachment
from localqwen.chats.tree import Chat, Message
from localqwen.events import Usage
from localqwen.params import SamplingParams

CHAT = (
    "id, title, tip, created, updated, draft, pinned, system, params, system_changed, "
    "draft <> '' OR EXISTS (SELECT 1 FROM draft_attachments WHERE chat_id = chat.id)"
)
MESSAGE = "id, chat_id, parent_id, role, text, state, created, model, params, stats, error, attachments, cut"


def chat_of(row: Sequence[Any], draft_attachments: str | None = None) -> Chat:
    """A conversation from the columns :data:`CHAT`, and its draft's files where they were read."""
    chat_id, title, tip, created, updated, draft, pinned, system, params, changed, is_drafted = row
    files = attachments_of(draft_attachments or "[]")
    settings = bool(pinned), system, params_of(params)
    return Chat(chat_id, title, tip, created, updated, draft, *settings, files, bool(is_drafted), changed)


def message_of(row: Sequence[Any]) -> Message:
    """A message from the columns :data:`MESSAGE`."""
    message_id, chat_id, parent_id, role, text, state, created, model, params, stats, error, attachments, cut = row
    return Message(
        message_id,
        chat_id,
        parent_id,
        role,
        text,
        state,
        created,
        model,
        params_of(params),
        None if stats is None else Usage.of(known(Usage, stats)),
        error,
        attachments_of(attachments),
        bool(cut),
    )


def params_json(params: SamplingParams) -> str:
    """Sampling parameters without those that are left to the model."""
    return json.dumps(params_dict(params))


def params_dict(params: SamplingParams) -> dict[str, Any]:
    """Sampling parameters without those that are left to the model, as JSON values."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(params).items()
        if value not in (None, ())
    }


def params_of(text: str) -> SamplingParams:
    """The reverse of :func:`params_json`."""
    return SamplingParams(**known(SamplingParams, text))


def usage_json(usage: Usage | None) -> str | None:
    """Statistics, where there are any."""
    return None if usage is None else json.dumps(asdict(usage))


def attachments_json(attachments: Sequence[Attachment]) -> str:
    """Files with their texts."""
    return json.dumps([{"name": storable(one.name), "text": storable(one.text)} for one in attachments])


def attachments_of(text: str) -> tuple[Attachment, ...]:
    """The reverse of :func:`attachments_json`; damage counts as nothing."""
    try:
        return tuple(Attachment(str(one["name"]), str(one["text"])) for one in json.loads(text))
    except (ValueError, TypeError, LookupError):
        return ()


def known(kind: type, text: str) -> dict[str, Any]:
    """A dataclass's fields from JSON; those that this version does not know are left out, damage counts as nothing."""
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        return {}
    names = {field.name for field in fields(kind)}
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items() if name in names}


def storable(text: str) -> str:
    """SQLite keeps UTF-8, which has no lone surrogates; a server may send one in a JSON escape."""
    return text.encode("utf-8", "replace").decode("utf-8") if not text.isascii() else text
