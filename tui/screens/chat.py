"""The chat: conversations on the left, the open one in the middle, the composer under it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Static

from localqwen.chats.store import Store
from localqwen.events import Ready
from localqwen.params import SamplingParams
from localqwen.settings import Settings
from tui.backend import Backend
from tui.backend_state import State
from tui.commands import ALIASES, BY_ID, BY_NAME, COMMANDS, Command
from tui.completion import Offers, SlashItem
from tui.desk import Desk
from tui.handlers import Handler
from tui.handlers.answers import AnswerCommands
from tui.handlers.conversations import ConversationCommands
from tui.handlers.machine import MachineCommands
from tui.handlers.reading import ReadingCommands
from tui.left_behind import take_up_draft, tell_left, tell_waiting
from tui.painting import SparingScreen
from tui.theme import theme_names
from tui.widgets.composer import Composer
from tui.widgets.find_bar import FindBar
from tui.widgets.sidebar import NARROW, Sidebar
from tui.widgets.status import StatusLine
from tui.widgets.transcript.find import Found
from tui.widgets.transcript.view import Transcript

# Times that are left go down while nothing else happens.
TICK_SECONDS = 1.0
SHUT_DOWN_SECONDS = 5
MOST_HISTORY = 500
# What may be meant by a command's argument.
OFFERS: dict[str, Offers] = {
    "message.attach": "files",
    "chat.import": "files",
    "chat.export": "folders",
    "code.save": "folders",
}


class ChatScreen(SparingScreen):
    """Everything that a person does with conversations: widgets here, what they mean on the :class:`Desk`."""

    AUTO_FOCUS = "#composer-text"

    BINDINGS: ClassVar[list[BindingType]] = [
        # A keymap only changes keys that are there: what has none by default gets one that no terminal sends.
        Binding(
            command.keys or f"none+{command.id}", f"command('{command.id}')", command.title, id=command.id, show=False
        )
        for command in COMMANDS
    ]

    def __init__(
        self,
        store: Store,
        backend: Backend,
        params: SamplingParams,
        settings: Callable[[], Settings],
        set_theme: Callable[[str], None],
    ) -> None:
        """``settings`` are asked whenever they matter; ``set_theme`` changes and keeps the theme."""
        super().__init__()
        self._settings = settings
        self._store = store
        self._is_narrow = False
        self._counted_by: State | None = None
        self.desk = Desk(self, store, backend, params, settings, set_theme)
        self.conversations = ConversationCommands(self.desk)
        self.answers = AnswerCommands(self.desk)
        self.reading = ReadingCommands(self.desk)
        self.handlers: dict[str, Handler] = {
            **self.conversations.handlers,
            **self.answers.handlers,
            **self.reading.handlers,
            **MachineCommands(self.desk).handlers,
            "settings": lambda _: self.app.run_action("settings"),
            "palette": lambda _: self.app.run_action("command_palette"),
            "quit": lambda _: self.app.run_action("quit"),
        }

    def compose(self) -> ComposeResult:
        """The layout."""
        with Horizontal(id="body"):
            yield Sidebar(self.desk.key, id="sidebar")
            with Vertical(id="main"):
                yield Static(id="title", markup=False)
                yield Transcript(id="transcript")
                yield FindBar(self.desk.key, id="find")
                yield Composer(
                    self.desk.send,
                    commands=[self._slash_item(command) for command in COMMANDS if command.in_palette],
                    history=self._earlier,
                    editor=lambda: self._settings().editor or None,
                    id="composer",
                )
        yield StatusLine(id="status")

    def _slash_item(self, command: Command) -> SlashItem:
        offers = (
            tuple(theme_names(self.app.available_themes)) if command.id == "view.theme" else OFFERS.get(command.id, ())
        )
        aliases = tuple(name for name, command_id in ALIASES.items() if command_id == command.id)
        return SlashItem(command.name, command.help, command.argument or None, offers, aliases)

    async def _earlier(self) -> list[str]:
        composer = self.desk.composer
        return list(map(composer.as_typed, await asyncio.to_thread(self._store.sent_texts, MOST_HISTORY)))

    def on_mount(self) -> None:
        """Begin with an empty conversation; a draft that was left behind comes soon."""
        self._fit_sidebar()
        if self.focused is None:
            # Behind a browser, Textual begins as if it had lost the focus, and would drop the first keys.
            self.set_focus(self.query_one(self.AUTO_FOCUS))
        self.desk.show(self.desk.blank())
        self.desk.run(partial(take_up_draft, self.desk), "waiting")
        self.desk.run(partial(tell_waiting, self.desk), "waiting")
        self.desk.run(partial(tell_left, self.desk), "waiting")
        self.set_interval(TICK_SECONDS, self._tick)

    def on_resize(self) -> None:
        """The list goes and comes with the room for it."""
        if (self.size.width < NARROW) != self._is_narrow:
            self._fit_sidebar()

    def _fit_sidebar(self) -> None:
        self._is_narrow = self.app.size.width < NARROW
        sidebar = self.query_one(Sidebar)
        if not sidebar.options.has_focus:
            sidebar.is_shown = self._settings().sidebar and not self._is_narrow

    def backend_changed(self) -> None:
        """The model's state is another one."""
        self.desk.ask_for_frame()
        state = self.desk.backend.state
        if isinstance(state, Ready) and state != self._counted_by:
            self.desk.count_tokens()  # what was estimated before can be counted now, and has a window to fit into
        self._counted_by = state

    def _tick(self) -> None:
        # While something is awaited; a chat at rest draws nothing.
        if self.desk.backend.is_busy:
            self.desk.ask_for_frame()

    # -- commands --------------------------------------------------------------------------------------------------

    async def action_command(self, command_id: str) -> None:
        """Do what a key asks for; the key that stops an answer only leads to the composer from elsewhere."""
        if command_id == "answer.stop" and not self.desk.composer.has_focus_within:
            self.desk.composer.focus()
        else:
            await self.command(command_id)

    async def command(self, command_id: str, argument: str = "") -> None:
        """Do what a key, the palette or a slash asks for."""
        done = self.handlers[command_id](argument)
        if not inspect.isawaitable(done):
            return
        if BY_ID[command_id].asks:
            self.run_worker(_awaited(done), group="dialogs")
        else:
            await done

    def action_read(self) -> None:
        """From the composer to the conversation."""
        self.desk.transcript.focus()

    def action_write(self) -> None:
        """From the conversation to the composer."""
        self.desk.composer.focus()

    def take_for_composer(self, event: events.Key | events.Paste) -> None:
        """Focus the composer if somebody types or pastes where that means nothing: in the conversation, or nowhere."""
        if self.app.screen is not self or self.focused not in {None, self.desk.transcript}:
            return
        # Who presses space there wants to read on.
        if isinstance(event, events.Paste) or (
            event.is_printable
            and event.key != "space"
            and not {"ctrl", "alt", "super"} & set(event.key.split("+"))
            and event.key not in self.active_bindings
        ):
            self.set_focus(self.query_one(self.AUTO_FOCUS))  # at once; focus() would wait for its turn

    def action_page(self, direction: int) -> None:
        """The composer has no pages: it asks for the transcript's."""
        self.reading.page(direction)

    async def on_composer_slash_command(self, event: Composer.SlashCommand) -> None:
        """A command was typed."""
        event.stop()
        await self.command(BY_NAME[event.name].id, event.argument)

    # -- what the widgets tell -------------------------------------------------------------------------------------

    def on_composer_draft_changed(self, event: Composer.DraftChanged) -> None:
        """Keep what is typed, and count it."""
        event.stop()
        self.desk.keep_draft()
        self.desk.count_tokens()

    async def on_sidebar_chosen(self, event: Sidebar.Chosen) -> None:
        """Open another conversation."""
        await self.desk.open(event.chat_id)
        self.desk.composer.focus()

    def on_sidebar_more_wanted(self, event: Sidebar.MoreWanted) -> None:
        """List more conversations."""
        event.stop()
        self.desk.list_more()

    def on_sidebar_asked(self, event: Sidebar.Asked) -> None:
        """A command about a conversation of the list."""
        commands = self.conversations
        about: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
            "chat.rename": lambda: commands.rename("", event.chat_id),
            "chat.pin": lambda: commands.pin("", event.chat_id),
            "chat.delete": lambda: commands.delete("", event.chat_id),
            "chat.undo": lambda: commands.undo(""),
        }
        self.run_worker(about[event.command](), group="dialogs")

    def on_transcript_copy(self, event: Transcript.Copy) -> None:
        """Copy what was marked or selected."""
        self.app.copy_to_clipboard(event.text)

    async def on_transcript_asked(self, event: Transcript.Asked) -> None:
        """A key of the transcript means a command."""
        await self.command(event.command)

    async def on_transcript_switch(self, event: Transcript.Switch) -> None:
        """An arrow beside 2/3 was clicked."""
        if event.key is not None:
            await self.answers.switch(event.direction, event.key)

    def on_find_bar_sought(self, event: FindBar.Sought) -> None:
        """Look for another text, or for none."""
        self._show_found(self.desk.transcript.find(event.text))
        if not self.query_one(FindBar).is_open:
            self.desk.composer.focus()

    def on_find_bar_stepped(self, event: FindBar.Stepped) -> None:
        """To the next one."""
        self._show_found(self.desk.transcript.find_next(event.direction))

    def on_transcript_found_changed(self, event: Transcript.FoundChanged) -> None:
        """The search goes on, or was ended there."""
        if self.desk.transcript.is_searching:
            self._show_found(event.found)
        else:
            self.query_one(FindBar).hide()

    def _show_found(self, found: Found) -> None:
        self.query_one(FindBar).show(found.current, found.count, complete=found.is_complete)

    async def shut_down(self) -> bool:
        """Stop what runs and keep everything; ``False`` when something cannot be kept and the app is not to end yet."""
        await self.desk.composer.catch_up()
        if not await self.desk.may_end():
            return False
        self.desk.turns.stop_all()
        keeping = [worker for worker in self.workers if worker.group in {"turns", "drafts", "settings"}]
        if keeping:
            # Not cancelled when the time is over: that would cancel what is being kept.
            kept = asyncio.ensure_future(self.workers.wait_for_complete(keeping))
            kept.add_done_callback(_heard)
            await asyncio.wait({kept}, timeout=SHUT_DOWN_SECONDS)
        return True


async def _awaited(done: Any) -> None:
    await done


def _heard(done: asyncio.Future[Any]) -> None:
    """Workers tell of their failures themselves."""
    if not done.cancelled():
        done.exception()
