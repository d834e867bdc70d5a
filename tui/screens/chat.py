"""The chat: conversations on the left, the open one in the middle, the composer under it."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Static, TextArea
from textual.worker import WorkerFailed

from localqwen.chats.answer import Answer
from localqwen.chats.session import Conversation
from localqwen.chats.store import ChatStoreError, Store
from localqwen.params import SamplingParams
from tui.backend import Backend
from tui.presenter import entries_of, update_answer
from tui.sanitize import safe, safe_line
from tui.screens.help import HelpScreen
from tui.screens.plan import PlanScreen
from tui.turns import Turns
from tui.widgets.composer import Composer
from tui.widgets.sidebar import Sidebar
from tui.widgets.status import StatusLine
from tui.widgets.transcript.entry import AnswerEntry, PersonEntry
from tui.widgets.transcript.view import Transcript

FRAME_SECONDS = 1 / 30
# A frame that is dear to render comes less often, so that rendering never takes more than a tenth of the time.
FRAME_COST_FACTOR = 9
SLOWEST_FRAME_SECONDS = 0.25
STATUS_SECONDS = 0.5
DRAFT_SECONDS = 0.2
NARROW = 90
SHUT_DOWN_SECONDS = 5


class ChatScreen(Screen[None]):
    """Everything that a person does with conversations."""

    AUTO_FOCUS = "#composer"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", id="answer.stop", show=False),
        Binding("ctrl+n", "new", "New conversation", id="chat.new", show=False),
        Binding("ctrl+l", "list", "Conversations", id="chat.list", show=False),
        Binding("ctrl+s", "sidebar", "Show or hide the list", id="view.sidebar", show=False),
        Binding("ctrl+o", "copy_answer", "Copy the answer", id="answer.copy", show=False),
        Binding("f1", "help", "Help", id="help", show=False),
        Binding("f2", "plan", "Plan", id="plan", show=False),
        Binding("pageup", "page(-1)", "Page up", id="view.page_up", show=False),
        Binding("pagedown", "page(1)", "Page down", id="view.page_down", show=False),
        Binding("ctrl+home", "jump(-1)", "Start", id="view.start", show=False),
        Binding("ctrl+end", "jump(1)", "End", id="view.end", show=False),
    ]

    def __init__(self, store: Store, backend: Backend, params: SamplingParams) -> None:
        super().__init__()
        self._store = store
        self._backend = backend
        self._turns = Turns(backend, params, self._restart_backend)
        self._conversation = Conversation(store)
        self._answer_entry: AnswerEntry | None = None
        self._frame: Timer | None = None
        self._frame_cost = 0.0
        self._status_due: Timer | None = None
        self._draft_timer: Timer | None = None

    def compose(self) -> ComposeResult:
        """The layout."""
        with Horizontal(id="body"):
            yield Sidebar(id="sidebar")
            with Vertical(id="main"):
                yield Static(id="title", markup=False)
                yield Transcript(id="transcript")
                yield Composer(self._send, id="composer")
        yield StatusLine(id="status")

    def on_mount(self) -> None:
        """Begin with an empty conversation, or with the draft that was left behind."""
        self.query_one(Sidebar).set_class(self.app.size.width < NARROW, "-hidden")
        draft = self._store.abandoned_draft()
        self._show(Conversation(self._store, draft))

    # -- showing ---------------------------------------------------------------------------------------------------

    def _show(self, conversation: Conversation) -> None:
        self._conversation = conversation
        entries = entries_of(conversation, self._backend)
        last = entries[-1]
        self._answer_entry = last if isinstance(last, AnswerEntry) else None
        self.query_one(Transcript).show(entries)
        composer = self.query_one(Composer)
        with self.prevent(TextArea.Changed):
            composer.fill(conversation.draft)
        self._refresh_title()
        self._refresh_status()
        self._list_chats()

    def _refresh_title(self) -> None:
        chat = self._conversation.chat
        title = safe_line(chat.title) if chat is not None else ""
        self.query_one("#title", Static).update(title or "New conversation")

    def _refresh_status(self) -> None:
        self.query_one(StatusLine).show(self._backend.model, self._backend.state, _last_answer(self._conversation))
        waiting = self._turns.is_under_way(self._conversation)
        composer, hint = self.query_one(Composer), "Esc stops" if waiting else "Enter sends"
        if composer.border_subtitle != hint:
            composer.border_subtitle = hint

    @work(exclusive=True, group="list")
    async def _list_chats(self) -> None:
        chats = await asyncio.to_thread(self._store.chats)
        current = self._conversation.chat
        self.query_one(Sidebar).show(chats, current.id if current is not None else None)

    def backend_changed(self) -> None:
        """The model's state is another one."""
        if self._is_shown:
            self._ask_for_frame()

    @property
    def _is_shown(self) -> bool:
        # Workers outlive the widgets when the app ends in another way than Ctrl+Q.
        return self.is_running and bool(self.query(Transcript))

    def _restart_backend(self) -> None:
        # The worker begins in a moment; until then the old failure must not be taken for a new one.
        self._backend.restarting()
        self.app.run_worker(self._backend.run(), group="backend", exclusive=True)

    def _ask_for_frame(self) -> None:
        if self._frame is None:
            wait = min(max(FRAME_SECONDS, self._frame_cost * FRAME_COST_FACTOR), SLOWEST_FRAME_SECONDS)
            self._frame = self.set_timer(wait, self._paint)

    def _paint(self) -> None:
        if self._frame is not None:
            self._frame.stop()
            self._frame = None
        if not self._is_shown:
            return
        begin = time.perf_counter()
        answer = self._conversation.answer
        if answer is not None and self._answer_entry is not None:
            update_answer(self._answer_entry, answer, self._backend.state)
            self.query_one(Transcript).entry_changed(self._answer_entry)
        # Textual paints all that lies between two changes: with the bottom line in each frame that is half of the
        # screen, for figures that nobody reads thirty times a second.
        if not self._turns.is_under_way(self._conversation):
            self._refresh_status()
        elif self._status_due is None:
            self._status_due = self.set_timer(STATUS_SECONDS, self._status_is_due)
        self._frame_cost = time.perf_counter() - begin

    def _status_is_due(self) -> None:
        self._status_due = None
        if self._is_shown:
            self._refresh_status()

    # -- asking ----------------------------------------------------------------------------------------------------

    def _send(self, text: str) -> bool:
        """Begin a turn, unless an answer is on its way: then the text stays where it is."""
        if not self._turns.begin(self._conversation):
            self.notify("An answer is on its way: Esc stops it, or send this afterwards.", timeout=4)
            return False
        self._take_turn(self._conversation, text)
        return True

    @work(group="turns")
    async def _take_turn(self, conversation: Conversation, text: str) -> None:
        try:
            await self._turns.take(conversation, text, self._asked, self._changed)
        except ChatStoreError as error:
            self._complain(error)
            kept = any(message.role == "user" and message.text == text for message in conversation.path[-2:])
            if not kept and conversation is self._conversation:
                composer = self.query_one(Composer)
                composer.fill(f"{text}\n{composer.text}" if composer.text else text)

    def _asked(self, conversation: Conversation) -> None:
        if conversation is self._conversation:
            path = conversation.path
            entry = PersonEntry(path[-1].text)
            transcript = self.query_one(Transcript)
            # The first message takes the greeting's place; later ones leave what is laid out alone.
            transcript.show([entry]) if len(path) == 1 else transcript.append(entry)
            self._answer_entry = None
            self._refresh_title()
        self._list_chats()

    def _changed(self, conversation: Conversation) -> None:
        if conversation is not self._conversation or not self._is_shown:
            return
        if conversation.is_answering:
            if self._answer_entry is None:
                self._answer_entry = AnswerEntry(safe_line(self._backend.model))
                self.query_one(Transcript).append(self._answer_entry)
            self._ask_for_frame()
        else:
            self._paint()

    def _complain(self, error: ChatStoreError) -> None:
        self.notify(safe_line(str(error)), severity="error", timeout=20, markup=False)

    # -- drafts ----------------------------------------------------------------------------------------------------

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """Keep what is typed, soon."""
        event.stop()
        if self._draft_timer is None:
            self._draft_timer = self.set_timer(DRAFT_SECONDS, self._save_draft)

    def _save_draft(self) -> None:
        self._draft_timer = None
        self._keep_draft(self._conversation, self.query_one(Composer).text)

    @work(group="drafts")
    async def _keep_draft(self, conversation: Conversation, text: str) -> None:
        had_chat = conversation.chat is not None
        try:
            await conversation.save_draft(text)
        except ChatStoreError as error:
            self._complain(error)
        # The list shows the drafts of conversations that have nothing else.
        if had_chat != (conversation.chat is not None) or conversation.tip is None:
            self._list_chats()

    # -- actions ---------------------------------------------------------------------------------------------------

    def action_stop(self) -> None:
        """Go back to the composer from the list; elsewhere stop the answer."""
        if not self.query_one(Sidebar).options.has_focus:
            self._conversation.stop()
        self.query_one(Composer).focus()

    async def action_new(self) -> None:
        """An empty conversation; the open one goes on by itself."""
        await self._leave()
        self._show(Conversation(self._store))
        self.query_one(Composer).focus()

    async def on_sidebar_chosen(self, event: Sidebar.Chosen) -> None:
        """Open another conversation."""
        current = self._conversation.chat
        if current is None or current.id != event.chat_id:
            await self._leave()
            try:
                under_way = self._turns.find(event.chat_id)
                self._show(under_way or await Conversation.open(self._store, event.chat_id))
            except ChatStoreError as error:
                self._complain(error)
        self.query_one(Composer).focus()

    async def _leave(self) -> None:
        if self._draft_timer is not None:
            self._draft_timer.stop()
            self._draft_timer = None
        await self._conversation.save_draft(self.query_one(Composer).text)

    def action_list(self) -> None:
        """Go to the list of conversations, or back."""
        sidebar = self.query_one(Sidebar)
        if sidebar.options.has_focus:
            self.query_one(Composer).focus()
        else:
            sidebar.remove_class("-hidden")
            sidebar.options.focus()

    def action_sidebar(self) -> None:
        """Show or hide the list of conversations."""
        sidebar = self.query_one(Sidebar)
        sidebar.toggle_class("-hidden")
        if sidebar.has_class("-hidden"):
            self.query_one(Composer).focus()

    def on_transcript_copy(self, event: Transcript.Copy) -> None:
        """Copy what is selected or current in the transcript."""
        event.stop()
        self.app.copy_to_clipboard(event.text)

    def action_copy_answer(self) -> None:
        """Copy the last answer as it was written, in Markdown."""
        answer = _last_answer(self._conversation)
        if answer is None or not answer.message.text:
            self.notify("There is no answer to copy yet.", timeout=3)
            return
        self.app.copy_to_clipboard(safe(answer.message.text))
        self.notify("The answer was sent to the terminal's clipboard.", timeout=3)

    def action_plan(self) -> None:
        """Where the model lies."""
        self.app.push_screen(PlanScreen(self._backend.planned, remote=self._backend.connection.address is not None))

    def action_help(self) -> None:
        """Show the keys."""
        self.app.push_screen(HelpScreen())

    def action_page(self, direction: int) -> None:
        """Scroll the transcript by a page, wherever the focus is."""
        transcript = self.query_one(Transcript)
        transcript.scroll_relative(y=direction * max(1, transcript.size.height - 2), animate=False)

    def action_jump(self, direction: int) -> None:
        """Go to the start or the end of the transcript."""
        transcript = self.query_one(Transcript)
        transcript.scroll_to(y=0 if direction < 0 else transcript.max_scroll_y, animate=False)

    async def shut_down(self) -> None:
        """Stop what runs and keep everything; the app ends next."""
        await self.query_one(Composer).catch_up()
        self._turns.stop_all()
        await self._leave()
        keeping = [worker for worker in self.workers if worker.group in {"turns", "drafts"}]
        if not keeping:
            return
        with suppress(TimeoutError, WorkerFailed):
            async with asyncio.timeout(SHUT_DOWN_SECONDS):
                await self.workers.wait_for_complete(keeping)


def _last_answer(conversation: Conversation) -> Answer | None:
    if conversation.answer is not None:
        return conversation.answer
    answers = [message for message in conversation.path if message.role == "assistant"]
    return Answer(answers[-1]) if answers else None
