"""Everything the chat can do, in one table: the palette, slash commands, keys and the help are all made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from tui.sanitize import SafeText, safe_line

Group: TypeAlias = Literal["Writing", "Answers", "Reading", "Conversations", "Model and machine", "App"]


@dataclass(frozen=True, slots=True)
class Command:
    """One thing to do.

    ``id`` names it in the settings file (and in the table of keys there), ``name`` after a slash. ``keys`` are
    Textual's names, separated by commas, ``""`` for none. ``argument`` says what may follow the name, ``""`` for
    nothing. With ``in_palette`` off, a command makes sense by its key only. A command that ``asks`` opens a dialog and
    waits for it, so it must not hold up the keys that come behind it.
    """

    id: str
    name: str
    title: str
    help: str
    keys: str = ""
    argument: str = ""
    in_palette: bool = True
    asks: bool = False


# Ctrl+M, Ctrl+I, Ctrl+H and Ctrl+[ are Enter, Tab, Backspace and Esc in most terminals: never here. Ctrl+A, E, F, K, U,
# W, X, C, V, Z, Y and D belong to the composer's text; function keys reach every terminal.
GROUPS: dict[Group, tuple[Command, ...]] = {
    "Writing": (
        Command("message.attach", "attach", "Attach a file", "a text file for your message", "", "FILE", asks=True),
        Command("queue.send", "send-queue", "Send the queue", "what waits since a stop goes out now"),
        Command("queue.clear", "take-back-queue", "Take back the queue", "what waits goes back to the composer"),
    ),
    "Conversations": (
        Command("chat.new", "new", "New conversation", "start with an empty one", "ctrl+n"),
        Command("chat.temporary", "temporary", "Temporary conversation", "nothing of it is kept"),
        Command("chat.list", "list", "Conversations", "go to the list, or back", "ctrl+l"),
        Command("chat.search", "search", "Search all", "find text in all conversations", "f4", "TEXT", asks=True),
        Command("chat.rename", "rename", "Rename", "give the conversation another title", "", "TITLE", asks=True),
        Command("chat.pin", "pin", "Pin or unpin", "keep the conversation at the top"),
        Command("chat.delete", "delete", "Delete", "take the conversation away; /undo has it back"),
        Command("chat.undo", "undo", "Undo delete", "have the last deleted conversation back"),
        Command(
            "chat.settings", "system", "System prompt and sampling", "the system prompt and sampling, with presets",
            "", "TEXT", asks=True,
        ),
        Command("chat.export", "export", "Export", "write the conversation as Markdown or JSON", "", "FILE", asks=True),
        Command("chat.import", "import", "Import", "read an exported conversation", "", "FILE", asks=True),
    ),
    "Answers": (
        Command("answer.stop", "stop", "Stop", "end the answer here and keep its text", "escape"),
        Command("answer.regenerate", "regenerate", "Answer again", "the old answer stays as a branch", "ctrl+r"),
        Command("answer.continue", "continue", "Go on", "continue the last answer where it ended"),
        Command("message.edit", "edit", "Edit", "change the marked message or your last one", "f5", asks=True),
        Command("branch.previous", "previous-version", "Earlier version", "the branch before this one", "alt+left"),
        Command("branch.next", "next-version", "Later version", "the branch after this one", "alt+right"),
    ),
    "Reading": (
        Command("view.find", "find", "Find here", "find text in this conversation", "f3", "TEXT"),
        Command("message.previous", "previous-message", "Message before", "mark the message before", "alt+up"),
        Command("message.next", "next-message", "Message after", "mark the message after", "alt+down"),
        Command("code.previous", "previous-code", "Code before", "mark the code block before", "alt+pageup"),
        Command("code.next", "next-code", "Code after", "mark the code block after", "alt+pagedown"),
        Command("message.copy", "copy", "Copy", "copy the marked block or message, or the last answer", "ctrl+o"),
        Command("code.copy", "copy-code", "Copy code", "copy the marked code block, or the last one"),
        Command("code.save", "save-code", "Save code", "write the marked code block to a file", "", "FILE", asks=True),
        Command("code.open", "open-code", "Open code in the editor", "look at the marked code block there", asks=True),
        Command("view.page_up", "page-up", "Page up", "scroll the conversation", "pageup", in_palette=False),
        Command("view.page_down", "page-down", "Page down", "scroll the conversation", "pagedown", in_palette=False),
        Command("view.start", "start", "To the start", "go to the first message", "ctrl+home"),
        Command("view.end", "end", "To the end", "go to the last message, and follow it", "ctrl+end"),
    ),
    "Model and machine": (
        Command("model.choose", "model", "Model", "choose another model; the conversation stays", "f9", asks=True),
        Command("model.cancel", "cancel-load", "Give up loading", "free the memory again"),
        Command("plan", "plan", "Plan", "where the model lies on this machine", "f2"),
    ),
    "App": (
        Command("settings", "settings", "Settings", "theme, defaults, keys", "f8", asks=True),
        Command("view.sidebar", "sidebar", "Show or hide the list", "the conversations on the left", "ctrl+s"),
        Command("view.theme", "theme", "Next theme", "dark, light, contrast, the terminal's own", "ctrl+t", "NAME"),
        Command("help", "help", "Help", "all commands and keys", "f1"),
        Command("palette", "palette", "Palette", "find a command by its words", "ctrl+p", in_palette=False),
        Command("quit", "quit", "Quit", "everything is kept, the draft too", "ctrl+q"),
    ),
}  # fmt: skip

COMMANDS = tuple(command for group in GROUPS.values() for command in group)
BY_ID = {command.id: command for command in COMMANDS}
# Names that commands had, or have in the other kind of chat.
ALIASES = {
    "send-queued": "queue.send",
    "unqueue": "queue.clear",
    "chat": "chat.settings",
    "previous": "branch.previous",
    "next": "branch.next",
    "up": "message.previous",
    "down": "message.next",
    "code-up": "code.previous",
    "code-down": "code.next",
}
BY_NAME = {command.name: command for command in COMMANDS} | {name: BY_ID[id_] for name, id_ in ALIASES.items()}


def key_label(keys: str) -> SafeText:
    """Textual's names of keys as a person reads them: ``ctrl+o,f2`` is ``Ctrl+O, F2``, and ``N`` is ``Shift+N``."""
    return safe_line(", ".join(dict.fromkeys(_label(key.strip()) for key in keys.split(",") if key.strip())))


def _label(key: str) -> str:
    if len(key) == 1 and key.isupper():
        key = f"shift+{key}"
    return "+".join(_WORDS.get(part, part.title() if len(part) > 1 else part.upper()) for part in key.split("+"))


_WORDS = {
    "escape": "Esc",
    "pageup": "PageUp",
    "pagedown": "PageDown",
    "question_mark": "?",
    "slash": "/",
    "left_curly_bracket": "{",
    "right_curly_bracket": "}",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
}
