"""A conversation on its way out of one store and into another: a value without ids of any database. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal, get_args, get_type_hints

from localqwen.chats.attachment import Attachment
from localqwen.chats.fields import Fields
from localqwen.chats.rows import params_dict
from localqwen.chats.tree import Chat, Message, Tree
from localqwen.events import Usage
from localqwen.params import Role, SamplingParams

ROLES: Final[tuple[Role, ...]] = ("system", "user", "assistant")
STATES: Final[tuple[Literal["done", "stopped", "error"], ...]] = ("done", "stopped", "error")

# Years 1970 to 9999: what a date can be written of.
LATEST = 253402300799.0


@dataclass(frozen=True, slots=True)
class Transfer:
    """``messages`` are numbered from 1 in their order, parents before children; ``tip`` is one of these numbers."""

    title: str
    created: float
    updated: float
    system: str
    params: SamplingParams
    messages: tuple[Message, ...]
    tip: int | None
    pinned: bool = False


def whole(chat: Chat, tree: Tree) -> Transfer:
    """All branches of a conversation. An answer that is being written counts as stopped where it is now."""
    return _numbered(chat, tree, chat.tip)


def shown(chat: Chat, tree: Tree) -> Transfer:
    """The path that is shown of a conversation."""
    path = tree.path(chat.tip)
    return _numbered(chat, path, path[-1].id if path else None)


def _numbered(chat: Chat, messages: Iterable[Message], tip: int | None) -> Transfer:
    numbers: dict[int, int] = {}
    carried = []
    for message in messages:
        # A parent that a damaged file has lost leaves a root behind, as it does on the screen.
        parent = numbers.get(message.parent_id) if message.parent_id is not None else None
        numbers[message.id] = len(numbers) + 1
        state = "stopped" if message.state == "streaming" else message.state
        carried.append(replace(message, id=numbers[message.id], chat_id=0, parent_id=parent, state=state))
    last = numbers.get(tip, len(carried) or None) if tip is not None else len(carried) or None
    return Transfer(chat.title, chat.created, chat.updated, chat.system, chat.params, tuple(carried), last, chat.pinned)


def message_values(message: Message) -> dict[str, Any]:
    """What there is about a message, as JSON values, apart from its texts and its place."""
    values = {
        "role": message.role,
        "state": message.state,
        "created": message.created,
        "model": message.model,
        "params": params_dict(message.params) or None,
        "stats": None if message.usage is None else asdict(message.usage),
        "error": message.error,
        "cut": message.is_cut or None,
    }
    return {name: value for name, value in values.items() if value is not None}


def message_from(
    fields: Fields, number: int, parent: int | None, text: str, attachments: tuple[Attachment, ...]
) -> Message:
    """The reverse of :func:`message_values`."""
    return Message(
        number,
        0,
        parent,
        fields.choice("role", ROLES),
        text,
        fields.choice("state", STATES),
        fields.number("created", 0, LATEST),
        fields.optional_text("model"),
        params_from(fields.nested("params")),
        _usage_from(fields.nested("stats")) if fields.has("stats") else None,
        fields.optional_text("error"),
        attachments,
        fields.flag("cut"),
    )


def params_from(fields: Fields) -> SamplingParams:
    """Sampling parameters; what is not told is the model's default."""
    return SamplingParams(**_values(SamplingParams, fields))


def _usage_from(fields: Fields) -> Usage:
    return Usage(**_values(Usage, fields))


def _values(kind: type, fields: Fields) -> dict[str, Any]:
    """The members of a dataclass that are told, each of the type that the dataclass says."""
    values: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        types = {hint, *get_args(hint)}
        if not fields.has(name):
            continue
        if float in types:
            values[name] = fields.optional_number(name)
        elif int in types:
            values[name] = fields.optional_integer(name)
        else:
            values[name] = fields.texts(name)
    return values
