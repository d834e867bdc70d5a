"""The chat as lines of text, for screen readers, dumb terminals and people who like it so.

No screen is taken over, nothing moves, nothing blinks: who speaks stands before what is said, and an answer comes in
whole sentences. Conversations are the same as those of the full screen.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from localqwen.chats.attachment import Attachment
from localqwen.chats.session import Conversation
from localqwen.chats.store import Store
from localqwen.errors import LocalqwenError
from localqwen.settings import Settings
from tui.attachments import AttachmentError, human_size, read_attachment
from tui.backend import Backend, Connection
from tui.model_list import ModelRow, advice
from tui.model_source import source_for
from tui.plain_terminal import Interrupt, StandardTerminal, Terminal
from tui.plain_turn import PlainTurn
from tui.plain_words import chosen_row, model_words
from tui.sanitize import SafeText, safe, safe_line

LISTED = 20
LEAVING = "Ctrl+C again, or /quit, leaves."


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
        self._store = store
        self._terminal = terminal
        self._backend = Backend(connection)
        self._system = settings.system_prompt
        self._conversation = Conversation(store, system=self._system)
        self._attached: tuple[Attachment, ...] = ()
        self._typed: deque[str | Interrupt | None] = deque()  # while an answer came
        self._listed: list[int] = []
        self._models: list[ModelRow] = []
        self._leaving = False
        self._turn = PlainTurn(terminal, self._backend, settings.sampling, self._typed)

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
            elif (command := COMMANDS.get(name.lower())) is not None:
                await command.run(self, rest.strip())
            else:
                self._line(f"There is no command {name}; /help lists them, and // begins a message with a slash.")
        except (AttachmentError, LocalqwenError) as error:
            self._line(f"Error: {error}")

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
                case Interrupt():
                    self._line("")
                    if warned:
                        return None
                    warned = True
                    lines.clear()
                    self._line(LEAVING)
                    self._terminal.say(SafeText("You: "))
                case line if line.endswith("\\"):
                    lines.append(line.removesuffix("\\"))
                    self._terminal.say(SafeText("... "))
                case line:
                    return "\n".join([*lines, line])

    def _line(self, text: str) -> None:
        self._terminal.say(SafeText(safe(text) + "\n"))

    # -- asking ----------------------------------------------------------------------------------------------------

    async def _ask(self, text: str) -> None:
        await self._conversation.ask(text, self._attached)
        self._attached = ()
        await self._turn.take(self._conversation)

    # -- commands --------------------------------------------------------------------------------------------------

    async def _help(self, _: str) -> None:
        for name, command in COMMANDS.items():
            self._line(f"{' '.join(filter(None, (name, command.argument)))}: {command.what}")
        self._line("A line that ends with a backslash goes on in the next one.")

    async def _new(self, _: str) -> None:
        self._conversation = Conversation(self._store, system=self._system)
        self._line("A new conversation.")

    async def _list(self, _: str) -> None:
        chats = [chat for chat in await asyncio.to_thread(self._store.chats) if chat.tip is not None][:LISTED]
        self._listed = [chat.id for chat in chats]
        for number, chat in enumerate(chats, 1):
            self._line(f"{number}. {safe_line(chat.title) or 'Untitled'}")
        self._line("/open and a number goes on with one." if chats else "There are no conversations yet.")

    async def _open(self, rest: str) -> None:
        if not self._listed:
            await self._list("")
        if not rest.isdecimal() or not 1 <= int(rest) <= len(self._listed):
            self._line("Say which one, as /open 1; /list has the numbers.")
            return
        self._conversation = await Conversation.open(self._store, self._listed[int(rest) - 1])
        for message in self._conversation.path:
            name = "You" if message.role == "user" else message.model or self._backend.model
            self._line(f"{safe_line(name)}: {message.text}")
            for attachment in message.attachments:
                self._line(f"(with {safe_line(attachment.name)})")

    async def _regenerate(self, _: str) -> None:
        path = self._conversation.path
        if not path or all(message.role != "user" for message in path):
            self._line("There is nothing to answer yet.")
            return
        if path[-1].role == "assistant":
            self._conversation.rewind(path[-1].id)  # the next answer becomes a sibling of this one, which is kept
        await self._turn.take(self._conversation)

    async def _continue(self, _: str) -> None:
        if self._conversation.can_resume:
            await self._turn.take(self._conversation, "resume")
        else:
            self._line("There is no answer to continue.")

    async def _edit(self, rest: str) -> None:
        last = next((one for one in reversed(self._conversation.path) if one.role == "user"), None)
        if last is None or not rest:
            self._line("Say it anew, as /edit What I meant." if last else "There is nothing to edit yet.")
            return
        await self._conversation.edit(last.id, rest, last.attachments)
        await self._turn.take(self._conversation)

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

    async def _quit(self, _: str) -> None:
        self._leaving = True


@dataclass(frozen=True, slots=True)
class Command:
    """What runs it, what may stand behind its name, and what it does."""

    run: Callable[[PlainChat, str], Awaitable[None]]
    argument: str
    what: str


COMMANDS = {
    "/help": Command(PlainChat._help, "", "this list"),
    "/new": Command(PlainChat._new, "", "a new conversation"),
    "/list": Command(PlainChat._list, "", "the conversations, newest first"),
    "/open": Command(PlainChat._open, "N", "go on with one of that list"),
    "/attach": Command(PlainChat._attach, "FILE", "send a text file with the next message; alone, send none"),
    "/regenerate": Command(PlainChat._regenerate, "", "another answer to the last message"),
    "/edit": Command(PlainChat._edit, "TEXT", "say the last message in another way"),
    "/stop": Command(PlainChat._nothing_to_stop, "", "end the answer and keep it; Ctrl+C does the same"),
    "/continue": Command(PlainChat._continue, "", "go on with an answer that was stopped"),
    "/model": Command(PlainChat._model, "", "the models; with a number or a name, choose one"),
    "/quit": Command(PlainChat._quit, "", "leave; everything is kept"),
}
