"""The chat as lines of text, for screen readers, dumb terminals and people who like it so.

No screen is taken over, nothing moves, nothing blinks: who speaks stands before what is said, and an answer comes in
whole sentences. Conversations are the same as those of the full screen.
"""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path

from localqwen.chats.answer import Answer
from localqwen.chats.attachment import Attachment
from localqwen.chats.session import Conversation
from localqwen.chats.store import Store
from localqwen.errors import LocalqwenError
from localqwen.settings import Settings
from tui.attachments import read_attachment
from tui.backend import GIVEN_UP, Backend
from tui.byte_size import human_size
from tui.commands import BY_NAME
from tui.connections import Connection
from tui.meters import meters, parts
from tui.model_list import CONTEXT, ModelRow, advice
from tui.model_source import source_for
from tui.plain_commands import ConversationLines, PlainHandler, Session
from tui.plain_terminal import LONGEST_LINE, Cut, Interrupt, StandardTerminal, Terminal, Typed
from tui.plain_turn import PlainTurn
from tui.plain_words import chosen_row, model_words
from tui.plan_words import memory_words, missing_plan_words, plan_words
from tui.sanitize import SafeText, safe, safe_line

LEAVING = "Ctrl+C again, or /quit, leaves."
CUT = (
    f"That line is longer than the {LONGEST_LINE} bytes that a terminal hands on, so nothing of it was taken: "
    "write it into a file and /attach that, or break it."
)
# What commands take and do that the full screen has not, or does in its own way; the others are in its table.
OWN = {
    "help": ("", "this list"),
    "list": ("", "the conversations, newest first"),
    "search": ("TEXT", "find text in all conversations; /open and a number goes to what was found"),
    "open": ("N", "go on with one of that list"),
    "attach": ("FILE", "send a text file with the next message; alone, send none"),
    "system": ("TEXT", "the system prompt of this conversation; alone, say it"),
    "edit": ("TEXT", "say the last message in another way"),
    "stop": ("", "end the answer and keep it; Ctrl+C does the same"),
    "stats": ("", "figures of the last answer, and of the machine"),
    "model": ("", "the models; with a number or a name, choose one"),
}


async def run_plain(
    store: Store, connection: Connection, settings: Settings | None = None, complaints: tuple[str, ...] = ()
) -> None:
    """Chat on standard input and output until the person leaves; ``complaints`` are said first."""
    with StandardTerminal() as terminal:
        await PlainChat(store, connection, terminal, settings).run(complaints)


class PlainChat:
    """One session."""

    def __init__(
        self, store: Store, connection: Connection, terminal: Terminal, settings: Settings | None = None
    ) -> None:
        settings = settings or Settings()
        self._terminal = terminal
        self._backend = Backend(connection)
        self._session = Session(store, settings.system_prompt, Conversation(store, system=settings.system_prompt))
        self._attached: tuple[Attachment, ...] = ()
        self._typed: deque[Typed] = deque()  # while an answer came
        self._models: list[ModelRow] = []
        self._leaving = False
        self._turn = PlainTurn(terminal, self._backend, settings.sampling, self._typed)
        self._handlers: dict[str, PlainHandler] = {
            **ConversationLines(self._session, self._line, lambda: self._backend.model).handlers,
            "help": self._help,
            "attach": self._attach,
            "regenerate": self._regenerate,
            "edit": self._edit,
            "stop": self._nothing_to_stop,
            "continue": self._continue,
            "model": self._model,
            "cancel-load": self._cancel_load,
            "plan": self._plan,
            "stats": self._stats,
            "quit": self._quit,
        }

    async def run(self, complaints: tuple[str, ...] = ()) -> None:
        """Ask and answer until the person leaves."""
        self._backend.start()
        for complaint in complaints:
            self._line(complaint)
        address = self._backend.connection.address
        self._line(f"localqwen with {self._backend.connection.name}. /help lists the commands.")
        self._line("What you type stays on this machine." if address is None else f"What you type goes to {address}.")
        while not self._leaving:
            text = await self._message()
            if text is None:
                break
            await self._take(text)

    async def _take(self, text: str) -> None:
        name, _, rest = text.strip().partition(" ")
        try:
            if not name:
                return
            if not name.startswith("/") or name.startswith("//"):
                await self._ask(text.removeprefix("/") if name.startswith("//") else text)
            elif (run := self._handler(name.lower()[1:])) is not None:
                await run(rest.strip())
            elif "\n" in text:
                await self._ask(text)  # what several lines begin with is no slip of the keys, such as a pasted path
            else:
                self._line(f"There is no command {name}; /help lists them, and // begins a message with a slash.")
        except LocalqwenError as error:
            self._line(f"Error: {error}")

    def _handler(self, name: str) -> PlainHandler | None:
        known = BY_NAME.get(name)
        return self._handlers.get(name) or (self._handlers.get(known.name) if known is not None else None)

    # -- reading ---------------------------------------------------------------------------------------------------

    async def _message(self) -> str | None:
        """What the person says, over several lines where each but the last ends with a backslash."""
        lines: list[str] = []
        warned = False
        self._terminal.say(SafeText("You: "))
        while True:
            match self._typed.popleft() if self._typed else await self._terminal.read():
                case None:
                    self._line("")
                    return None
                case Cut():
                    lines.clear()
                    self._line(CUT)
                    self._terminal.say(SafeText("You: "))
                case Interrupt():
                    self._line("")
                    if warned:
                        return None
                    warned = True
                    lines.clear()
                    if self._backend.cancel():
                        self._line(GIVEN_UP)
                    self._line(LEAVING)
                    self._terminal.say(SafeText("You: "))
                case line if "\n" in line:
                    # The last line of a paste may still stand at the prompt, which sees no line before its end.
                    lines.append(line)
                    count = line.count("\n") + 1
                    self._line(f"({count} lines came at once: Enter sends them, Ctrl+C drops them)")
                    self._terminal.say(SafeText("... "))
                case line if line.endswith("\\"):
                    lines.append(line.removesuffix("\\"))
                    self._terminal.say(SafeText("... "))
                case line:
                    has_paste = any("\n" in one for one in lines)
                    return "\n".join([*lines, line] if line or not has_paste else lines)

    def _line(self, text: str) -> None:
        self._terminal.say(safe(text + "\n"))

    # -- asking ----------------------------------------------------------------------------------------------------

    async def _ask(self, text: str) -> None:
        # Drafts are the full screen's: what was typed there is neither shown nor lost here.
        await self._session.conversation.ask(text, self._attached, keep_draft=True)
        self._attached = ()
        await self._turn.take(self._session.conversation)

    # -- commands --------------------------------------------------------------------------------------------------

    async def _help(self, _: str) -> None:
        for name in self._handlers:
            argument, what = OWN.get(name) or (BY_NAME[name].argument, f"{BY_NAME[name].title}; {BY_NAME[name].help}")
            self._line(f"{' '.join(filter(None, (f'/{name}', argument)))}: {what}")
        self._line("A line that ends with a backslash goes on in the next one.")
        self._line("Pasted lines are one message, which the next Enter sends.")

    async def _regenerate(self, _: str) -> None:
        path = self._session.conversation.path
        if not path or all(message.role != "user" for message in path):
            self._line("There is nothing to answer yet.")
            return
        if path[-1].role == "assistant":
            self._session.conversation.rewind(
                path[-1].id
            )  # the next answer becomes a sibling of this one, which is kept
        await self._turn.take(self._session.conversation)

    async def _continue(self, _: str) -> None:
        conversation = self._session.conversation
        if conversation.can_resume:
            await self._turn.take(conversation, "resume")
        elif conversation.path and conversation.path[-1].role == "user":
            await self._turn.take(conversation)  # the answer was never begun
        else:
            self._line("There is no answer to continue.")

    async def _edit(self, rest: str) -> None:
        last = next((one for one in reversed(self._session.conversation.path) if one.role == "user"), None)
        if last is None or not rest:
            self._line("Say it anew, as /edit What I meant." if last else "There is nothing to edit yet.")
            return
        await self._session.conversation.edit(last.id, rest, last.attachments)
        await self._turn.take(self._session.conversation)

    async def _attach(self, rest: str) -> None:
        if rest:
            found = await asyncio.to_thread(read_attachment, rest, Path.cwd())
            self._attached = (*self._attached, found)
            self._line(f"{safe_line(found.name)} ({human_size(len(found.text.encode()))}) goes with the next message.")
        elif self._attached:
            self._attached = ()
            self._line("Nothing goes with the next message.")
        else:
            self._line("Say which file, as /attach notes.txt.")

    async def _nothing_to_stop(self, _: str) -> None:
        self._line("There is no answer on its way.")

    async def _model(self, rest: str) -> None:
        source = source_for(self._backend.connection, self._backend.planned)
        if not rest:
            self._models = await source.judged()
            for number, row in enumerate(self._models, 1):
                self._line(f"{number}. {model_words(row)}")
            self._line(f"What fits is judged with {CONTEXT} tokens of context.")
            self._line("/model and a number or a name chooses one.")
            return
        self._models = self._models or await source.listed()
        chosen = chosen_row(self._models, rest)
        if chosen is None:
            self._line(f"There is no model {rest}; /model lists them.")
        elif not chosen.can_be_opened:
            self._line(advice(chosen))
        else:
            self._backend.switch(source.connection(chosen))
            self._line(f"{chosen.name} answers from now on.")

    async def _cancel_load(self, _: str) -> None:
        self._line(GIVEN_UP if self._backend.cancel() else "Nothing is being loaded.")

    async def _plan(self, _: str) -> None:
        backend = self._backend
        await backend.look_at_memory()
        if backend.planned is not None:
            for line in plan_words(backend.planned):
                self._line(line)
        else:
            self._line(missing_plan_words(backend.state, backend.connection.address))
        for line in memory_words(backend.memory):
            self._line(line)

    async def _stats(self, _: str) -> None:
        path = self._session.conversation.path
        answer = Answer(path[-1]) if path and path[-1].role == "assistant" else None
        await self._backend.look_at_memory()
        figures = parts(meters(answer, self._backend.state, memory=self._backend.memory))
        self._line(", ".join(figures) + "." if figures else "Nothing has been measured yet.")

    async def _quit(self, _: str) -> None:
        self._leaving = True
