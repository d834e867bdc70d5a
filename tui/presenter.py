"""Conversations as transcript entries."""

from __future__ import annotations

from localqwen.chats.answer import Answer
from localqwen.chats.session import Conversation
from localqwen.events import Loading, Ready
from tui.backend import Backend, State
from tui.sanitize import SafeText, safe_line
from tui.widgets.transcript.entry import AnswerEntry, Entry, NoteEntry, PersonEntry


def entries_of(conversation: Conversation, backend: Backend) -> list[Entry]:
    """All entries of a conversation; of an empty one, a greeting."""
    entries: list[Entry] = []
    for message in conversation.path:
        if message.role == "assistant":
            live = conversation.answer
            if live is None or live.message.id != message.id:
                live = Answer(message)
            entries.append(answer_entry(live, backend))
        elif message.role == "user":
            entries.append(PersonEntry(message.text))
    return entries or [greeting(backend)]


def answer_entry(answer: Answer, backend: Backend) -> AnswerEntry:
    """The entry of an answer, which may be on its way."""
    entry = AnswerEntry(safe_line(answer.message.model or backend.model))
    update_answer(entry, answer, backend.state)
    return entry


def update_answer(entry: AnswerEntry, answer: Answer, state: State) -> None:
    """Bring an entry up to date with its answer."""
    entry.set_text(answer.message.text)
    if answer.is_over:
        entry.finish()
    style = "error" if answer.message.state == "error" else "muted"
    entry.set_footer(footer(answer, state), style)


def footer(answer: Answer, state: State) -> SafeText:
    """What stands under an answer: what is awaited, why it ended early, how much it was."""
    message = answer.message
    match message.state:
        case "streaming":
            return SafeText("" if message.text else _awaited(answer, state))
        case "error":
            return safe_line(f"✗ {message.error or 'The answer failed.'}")
        case "stopped":
            return SafeText("■ stopped" + _figures(answer, " · "))
        case "done":
            return SafeText(_figures(answer))


def greeting(backend: Backend) -> NoteEntry:
    """What an empty conversation shows."""
    address = backend.connection.address
    where = (
        "It runs here: what you type stays on this machine." if address is None else f"What you type goes to {address}."
    )
    return NoteEntry(
        [
            (SafeText("localqwen"), "name"),
            (safe_line(where), "muted"),
            (SafeText(""), "muted"),
            (SafeText("Enter sends, Ctrl+J breaks the line, Esc stops an answer, F1 shows all keys."), "muted"),
        ]
    )


def _awaited(answer: Answer, state: State) -> str:
    match state:
        case Loading(progress):
            return f"… goes out when the model is loaded ({progress:.0%})"
        case Ready() if answer.prefill is not None and answer.prefill.done < answer.prefill.total:
            return f"… reading {answer.prefill.done} of {answer.prefill.total} tokens"
        case Ready():
            return "…"
        case _:
            return "… goes out when the model is ready"


def _figures(answer: Answer, lead: str = "") -> str:
    usage = answer.message.usage
    if usage is None or not usage.completion_tokens:
        return ""
    tokens = "1 token" if usage.completion_tokens == 1 else f"{usage.completion_tokens} tokens"
    speed = f" · {answer.tokens_per_second:.1f} tok/s" if answer.tokens_per_second else ""
    return f"{lead}{tokens}{speed}"
