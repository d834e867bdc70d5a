"""A conversation as a tree of messages. Pure: no clock, no database.

Every message names its parent, so that asking again or editing adds a branch and never overwrites one. What a person
sees is one path: from the first message to the conversation's *tip*.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from localqwen.chats.attachment import Attachment, content_of
from localqwen.events import Usage
from localqwen.params import ChatMessage, Role, SamplingParams

MessageState: TypeAlias = Literal["streaming", "done", "stopped", "error"]

TITLE_LENGTH = 60


@dataclass(frozen=True, slots=True)
class Message:
    """One message. ``text`` is what was typed or generated, byte for byte; views sanitize it themselves.

    ``attachments`` are the files that went with it; their text is not in ``text``. ``is_cut``: the answer has ended
    because it was as long as it may be, and would have gone on.
    """

    id: int
    chat_id: int
    parent_id: int | None
    role: Role
    text: str
    state: MessageState
    created: float
    model: str | None = None
    params: SamplingParams = field(default_factory=SamplingParams)
    usage: Usage | None = None
    error: str | None = None
    attachments: tuple[Attachment, ...] = ()
    is_cut: bool = False

    @property
    def content(self) -> str:
        """What the model reads of it."""
        return content_of(self.text, self.attachments)


@dataclass(frozen=True, slots=True)
class Chat:
    """One conversation.

    ``tip`` is the last message of the path that is shown; ``None`` while it is empty. ``system`` is the system prompt,
    ``""`` for none. In ``params``, what is ``None`` is the model's default. ``draft_attachments`` may be large and are
    left out where many conversations are listed; ``is_drafted`` tells there too whether there is a draft. Answers that
    are older than ``system_changed`` were made after another system prompt.
    """

    id: int
    title: str
    tip: int | None
    created: float
    updated: float
    draft: str = ""
    pinned: bool = False
    system: str = ""
    params: SamplingParams = field(default_factory=SamplingParams)
    draft_attachments: tuple[Attachment, ...] = ()
    is_drafted: bool = False
    system_changed: float = 0.0


@dataclass(frozen=True, slots=True)
class Queued:
    """A message that was typed while an answer ran, and waits for its turn."""

    id: int
    text: str
    attachments: tuple[Attachment, ...] = ()


class Tree:
    """The messages of one conversation, by id and by parent."""

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self._messages: dict[int, Message] = {}
        self._children: dict[int | None, list[int]] = {}
        for message in messages:
            self.put(message)

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[Message]:
        """All messages, in the order in which they came."""
        return iter(self._messages.values())

    def __contains__(self, message_id: int) -> bool:
        return message_id in self._messages

    def __getitem__(self, message_id: int) -> Message:
        return self._messages[message_id]

    def put(self, message: Message) -> None:
        """Add a message, or replace the one with its id (whose parent must be the same)."""
        known = self._messages.get(message.id)
        if known is None:
            self._children.setdefault(message.parent_id, []).append(message.id)
        elif known.parent_id != message.parent_id:
            raise ValueError(f"message {message.id} cannot move to another parent")
        self._messages[message.id] = message

    def path(self, tip: int | None) -> list[Message]:
        """The messages from the first one to ``tip``; empty for ``None``.

        A parent that is missing, or a cycle, ends the path: a damaged row must not hide the rest or hang the program.
        """
        path: list[Message] = []
        seen: set[int] = set()
        current = tip
        while current is not None and current in self._messages and current not in seen:
            seen.add(current)
            message = self._messages[current]
            path.append(message)
            current = message.parent_id
        path.reverse()
        return path

    def siblings(self, message_id: int) -> list[Message]:
        """All answers to the same parent, oldest first, ``message_id`` among them."""
        return [self._messages[i] for i in self._children[self._messages[message_id].parent_id]]

    def position(self, message_id: int) -> tuple[int, int]:
        """Which of its siblings a message is, and how many there are: ``(2, 3)`` is shown as 2/3."""
        siblings = self._children[self._messages[message_id].parent_id]
        return siblings.index(message_id) + 1, len(siblings)

    def newest_leaf(self, message_id: int) -> int:
        """Follow the newest child from ``message_id`` down: where switching to a branch should land."""
        current = message_id
        while children := self._children.get(current):
            current = children[-1]
        return current


def history(path: Sequence[Message], system: str = "") -> list[ChatMessage]:
    """What the model is shown of a path: the system prompt, then every message that has something to say.

    An answer that never began tells the model nothing and is left out.
    """
    told: list[ChatMessage] = [{"role": "system", "content": system}] if system.strip() else []
    told += [{"role": message.role, "content": content} for message in path if (content := message.content)]
    return told


def is_continuation(told: Sequence[ChatMessage]) -> bool:
    """Whether a history asks for more of its last message, an answer that was begun, and not for a new message."""
    return bool(told) and told[-1]["role"] == "assistant"


def resumable(path: Sequence[Message]) -> Message | None:
    """The answer at the end of a path that can be continued: any that is not being written at this moment."""
    last = path[-1] if path else None
    return last if last is not None and last.role == "assistant" and last.state != "streaming" else None


def title_from(text: str) -> str:
    """A conversation's first title: the start of its first message on one line, cut at a word where possible."""
    line = " ".join(text.split())
    if len(line) <= TITLE_LENGTH:
        return line
    cut = line[: TITLE_LENGTH - 1]
    head, space, _ = cut.rpartition(" ")
    return (head if space and len(head) > TITLE_LENGTH // 2 else cut).rstrip() + "…"
