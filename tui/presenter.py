"""A conversation as transcript entries, and how they follow it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from localqwen.chats.answer import Answer
from localqwen.chats.attachment import Attachment
from localqwen.chats.session import Conversation
from localqwen.chats.tree import Message
from localqwen.events import Loading, Ready
from tui.backend import Backend
from tui.backend_state import State
from tui.meters import Watch, loading_words, reading_words
from tui.sanitize import SafeText, safe_line
from tui.widgets.transcript.entry import Entry, NoteEntry, PersonEntry, QueuedEntry
from tui.widgets.transcript.view import Transcript

if TYPE_CHECKING:
    from tui.widgets.transcript.answer import AnswerEntry

# How many sizes of attachments are remembered.
SIZES = 64


@dataclass(slots=True)
class Shown:
    """What is shown of a conversation: ``path`` are the ids of its messages, ``answer`` the last one's entry."""

    entries: list[Entry] = field(default_factory=list)
    path: list[int] = field(default_factory=list)
    answer: AnswerEntry | None = None
    queued: list[QueuedEntry] = field(default_factory=list)

    def extend(self, conversation: Conversation, transcript: Transcript) -> bool:
        """Add the question at the end of the path; ``False`` when the path has changed in another way."""
        path = conversation.path
        if not self.path or [message.id for message in path[:-1]] != self.path or path[-1].role != "user":
            return False
        self._forget_queue(transcript)
        self.path.append(path[-1].id)
        self.answer = None
        transcript.append(_person(conversation, path[-1]))
        self.show_queue(conversation, transcript)
        return True

    def show_answer(self, conversation: Conversation, backend: Backend, transcript: Transcript) -> bool:
        """Add the entry of the answer that has begun; ``False`` when what is shown is closed and goes on."""
        answer = conversation.answer
        # Asked at each delta: nearly always it is the last one.
        if answer is None or self.path[-1:] == [answer.message.id] or answer.message.id in self.path:
            return self.answer is None or answer is None or answer.is_over or self.answer.is_open
        self._forget_queue(transcript)
        self.path.append(answer.message.id)
        self.answer = _answer(conversation, answer, backend)
        transcript.append(self.answer)
        self.show_queue(conversation, transcript)
        return True

    def update(self, conversation: Conversation, backend: Backend, transcript: Transcript, watch: Watch | None) -> None:
        """Bring the last answer's entry up to date."""
        answer = conversation.answer
        if answer is not None and self.answer is not None and self.answer.key == answer.message.id:
            _update(self.answer, answer, backend, watch)
            transcript.entry_changed(self.answer)

    def show_queue(self, conversation: Conversation, transcript: Transcript) -> None:
        """Show what waits to be sent, below everything."""
        self._forget_queue(transcript)
        self.queued = _queued(conversation)
        for entry in self.queued:
            transcript.append(entry)

    def _forget_queue(self, transcript: Transcript) -> None:
        transcript.drop_last(len(self.queued))
        self.queued = []


def shown(conversation: Conversation, backend: Backend, key: Callable[[str], str], *, temporary: bool) -> Shown:
    """All entries of a conversation; of an empty one, a greeting. ``key`` says how the key of a name is called."""
    found = Shown()
    for message in conversation.path:
        if message.role == "assistant":
            live = conversation.answer
            if live is None or live.message.id != message.id:
                live = Answer(message)
            found.answer = _answer(conversation, live, backend)
            found.entries.append(found.answer)
        elif message.role == "user":
            found.answer = None
            found.entries.append(_person(conversation, message))
        found.path.append(message.id)
    found.queued = _queued(conversation)
    found.entries += found.queued
    if not found.entries:
        found.entries = [greeting(backend, key, temporary=temporary)]
    return found


def greeting(backend: Backend, key: Callable[[str], str], *, temporary: bool) -> NoteEntry:
    """What an empty conversation shows."""
    address = backend.connection.address
    where = (
        "It runs here: what you type stays on this machine." if address is None else f"What you type goes to {address}."
    )
    lines: list[tuple[SafeText, str]] = [(SafeText("localqwen"), "name"), (safe_line(where), "muted")]
    if temporary:
        lines.append((SafeText("This conversation is temporary: nothing of it is kept."), "warning"))
    keys = (
        f"{key('composer.send')} sends, {key('composer.newline')} breaks the line, {key('answer.stop')} stops an answer"
    )
    hints = f"{keys}, / shows commands, @ attaches a file, {key('help')} helps."
    return NoteEntry([*lines, (SafeText(""), "muted"), (safe_line(hints), "muted")])


def footer(
    answer: Answer, backend_state: State, backend: Backend | None = None, watch: Watch | None = None
) -> SafeText:
    """What stands under an answer: what is awaited, why it ended early, how much it was."""
    message = answer.message
    match message.state:
        case "streaming":
            return safe_line("" if message.text else _awaited(backend_state, backend, watch))
        case "error":
            return safe_line(f"✗ {message.error or 'The answer failed.'}")
        case "stopped":
            return safe_line("■ stopped" + _figures(answer, " · ") + " · /continue goes on")
        case "done" if message.is_cut:
            return safe_line("■ cut off" + _figures(answer, " at ") + " · /continue goes on")
        case "done" if not message.text.strip():
            return safe_line("The answer is empty." + _figures(answer, " · "))
        case "done":
            return safe_line(_figures(answer))


def _person(conversation: Conversation, message: Message) -> PersonEntry:
    entry = PersonEntry(message.text, _files(message.attachments), key=message.id)
    entry.set_branch(*conversation.tree.position(message.id))
    return entry


def _queued(conversation: Conversation) -> list[QueuedEntry]:
    due = conversation.due
    return [QueuedEntry(one.text, _files(one.attachments), is_due=one in due) for one in conversation.queue]


def _answer(conversation: Conversation, answer: Answer, backend: Backend) -> AnswerEntry:
    # A new conversation has no answer: the Markdown parser need not be there for the first paint.
    from tui.widgets.transcript.answer import AnswerEntry

    entry = AnswerEntry(safe_line(answer.message.model or backend.model), key=answer.message.id)
    entry.set_branch(*conversation.tree.position(answer.message.id))
    _update(entry, answer, backend, None)
    return entry


def _update(entry: AnswerEntry, answer: Answer, backend: Backend, watch: Watch | None) -> None:
    message = answer.message
    if message.model:
        entry.set_name(safe_line(message.model))
    entry.set_text(message.text)
    if answer.is_over:
        entry.finish()
    entry.set_footer(footer(answer, backend.state, backend, watch), "error" if message.state == "error" else "muted")


def _awaited(state: State, backend: Backend | None, watch: Watch | None) -> str:
    now = time.monotonic()
    match state:
        case Loading() if backend is not None:
            return f"… goes out when the model is loaded ({loading_words(state, backend.loading, now)})"
        case Ready() if watch is not None and (words := reading_words(watch, now)):
            return f"… {words}"
        case Ready():
            return "…"
        case _:
            return "… goes out when the model is ready"


def _files(attachments: Sequence[Attachment]) -> list[tuple[SafeText, int]]:
    return [(safe_line(one.name), _size(one)) for one in attachments]


@lru_cache(maxsize=SIZES)
def _size(attachment: Attachment) -> int:
    """Bytes of UTF-8: to encode megabytes for that at each look would be felt."""
    return len(attachment.text.encode("utf-8", "replace"))


def _figures(answer: Answer, lead: str = "") -> str:
    usage = answer.message.usage
    if usage is None or not usage.completion_tokens:
        return ""
    tokens = "1 token" if usage.completion_tokens == 1 else f"{usage.completion_tokens} tokens"
    speed = f" · {answer.tokens_per_second:.1f} tok/s" if answer.tokens_per_second else ""
    return f"{lead}{tokens}{speed}"
