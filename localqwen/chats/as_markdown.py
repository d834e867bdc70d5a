"""The shown path of a conversation as Markdown that people read and this module reads back without a loss.

A front matter of ``name: JSON`` lines, and then sections. Each begins with a comment, which a rendered page does not
show, with what is known about the message::

    <!-- message {"kind": "message", "role": "user", ...} -->
    ## You

    the text, byte for byte

The front matter tells the comments' first word, and that is one which no text holds behind ``<!--``: so a message may
have headings, front matters and these comments in it, and cannot end a section.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

from localqwen.chats.as_json import FORMAT, VERSION, check_version
from localqwen.chats.attachment import Attachment, fence_for
from localqwen.chats.fields import Fields, TransferError
from localqwen.chats.rows import params_dict
from localqwen.chats.transfer import LATEST, Transfer, message_from, message_values, params_from
from localqwen.chats.tree import Message

HEADINGS = {"user": "You", "assistant": "Assistant", "system": "System"}

_FRONT = re.compile(r"---\n(.*?)\n---\n", re.DOTALL)
_HEADING = re.compile(r"## [^\n]*\n\n")
_FILE = re.compile(r"File: [^\n]*\n\n(`{3,})\n")


def to_markdown(transfer: Transfer) -> str:
    """Write down the path to the tip."""
    path = _path(transfer)
    boundary = _boundary(transfer, path)
    models = [message.model for message in path if message.model]
    front = {
        "format": FORMAT,
        "version": VERSION,
        "boundary": boundary,
        "title": transfer.title,
        "model": models[-1] if models else None,
        "created": _date(transfer.created),
        "updated": _date(transfer.updated),
        "pinned": transfer.pinned,
        "params": params_dict(transfer.params),
    }
    lines = [f"{name}: {_json(value)}" for name, value in front.items() if value is not None]
    sections = "\n\n".join(f"<!-- {boundary} {_json(about)} -->\n{text}" for about, text in _sections(transfer, path))
    return "\n".join(["---", *lines, "---", "", sections, ""])


def from_markdown(text: str) -> Transfer:
    """Read what :func:`to_markdown` wrote. Dates of the conversation are exact to a microsecond.

    Raises:
        TransferError: It is something else; the message says where.
    """
    if text.startswith("---\r\n"):
        # An editor has changed all line ends, and so those of the texts, which cannot be told apart any more.
        text = text.replace("\r\n", "\n")
    front = _FRONT.match(text)
    if front is None:
        raise TransferError("it has no front matter")
    fields = _front_fields(front[1])
    check_version(fields)
    marker = re.compile(rf"^<!-- {re.escape(fields.text('boundary'))} (\{{.*\}}) -->\n", re.MULTILINE)
    _, *pieces = marker.split(text[front.end() :])
    system, messages = "", list[Message]()
    for number, (about, body) in enumerate(zip(pieces[::2], pieces[1::2], strict=True), 1):
        section = Fields.parse(about, f"the comment of section {number}")
        end = "\n" if 2 * number == len(pieces) else "\n\n"
        body = body.removesuffix(end)  # noqa: PLW2901 (the section is what is between the frames)
        match section.choice("kind", ("message", "file", "system")):
            case "system":
                system = _after(_HEADING, body, number)
            case "message":
                place = len(messages) + 1
                messages.append(message_from(section, place, place - 1 or None, _after(_HEADING, body, number), ()))
            case "file":
                if not messages:
                    raise TransferError(f"section {number} is a file without a message")
                file = Attachment(section.text("name"), _unfenced(body, number))
                messages[-1] = replace(messages[-1], attachments=(*messages[-1].attachments, file))
    return Transfer(
        fields.text("title"),
        _seconds(fields, "created"),
        _seconds(fields, "updated"),
        system,
        params_from(fields.nested("params")),
        tuple(messages),
        len(messages) or None,
        fields.flag("pinned"),
    )


def _path(transfer: Transfer) -> list[Message]:
    path, current = list[Message](), transfer.tip
    while current is not None:
        path.append(transfer.messages[current - 1])
        current = path[-1].parent_id
    return path[::-1]


def _boundary(transfer: Transfer, path: list[Message]) -> str:
    texts = [transfer.system, *(text for one in path for text in (one.text, *(file.text for file in one.attachments)))]
    names = ("message" if number == 1 else f"message-{number}" for number in count(1))
    return next(name for name in names if not any(f"<!-- {name} " in text for text in texts))


def _sections(transfer: Transfer, path: list[Message]) -> Iterator[tuple[dict[str, Any], str]]:
    if transfer.system:
        yield {"kind": "system"}, f"## System prompt\n\n{transfer.system}"
    for message in path:
        yield {"kind": "message", **message_values(message)}, f"## {HEADINGS[message.role]}\n\n{message.text}"
        for file in message.attachments:
            fence = fence_for(file.text)
            line = " ".join(file.name.replace("<!--", "<!").split())
            yield {"kind": "file", "name": file.name}, f"File: {line}\n\n{fence}\n{file.text}\n{fence}"


def _json(value: object) -> str:
    """JSON on one line that neither ends nor begins a comment."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c").replace(">", "\\u003e")


def _front_fields(lines: str) -> Fields:
    members = []
    for line in lines.split("\n"):
        name, colon, value = line.partition(":")
        if not colon:
            raise TransferError(f"its front matter has a line without a colon ({line[:40]!r})")
        members.append(f"{json.dumps(name.strip())}: {value}")
    return Fields.parse("{" + ", ".join(members) + "}", "the front matter")


def _after(frame: re.Pattern[str], body: str, number: int) -> str:
    begin = frame.match(body)
    if begin is None:
        raise TransferError(f"section {number} has no heading with an empty line after it")
    return body[begin.end() :]


def _unfenced(body: str, number: int) -> str:
    begin = _FILE.match(body)
    if begin is None or not body.endswith("\n" + begin[1]) or len(body) <= begin.end() + len(begin[1]):
        raise TransferError(f"section {number} is no file in a fence")
    return body[begin.end() : -len(begin[1]) - 1]


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(min(max(seconds, 0.0), LATEST), UTC).isoformat()


def _seconds(fields: Fields, name: str) -> float:
    try:
        date = datetime.fromisoformat(fields.text(name))
    except ValueError:
        raise TransferError(f"the front matter has no proper {name!r}") from None
    return min(max((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp(), 0.0), LATEST)
