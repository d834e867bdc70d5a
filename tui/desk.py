"""The conversation that lies open: which one it is, its draft, and the turns that are taken in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from textual.screen import Screen

from localqwen.chats.session import Conversation
from localqwen.chats.store import ChatStoreError, Store
from localqwen.chats.tree import Message
from localqwen.errors import LocalqwenError
from localqwen.params import SamplingParams
from localqwen.settings import Settings
from tui.attachments import Outgoing
from tui.backend import Backend
from tui.budget import Budget
from tui.display import Display
from tui.keymap import label
from tui.sanitize import SafeText, safe_line
from tui.turns import Prepare, Turns
from tui.voice import Voice
from tui.widgets.find_bar import FindBar

if TYPE_CHECKING:
    from tui.screens.drafted import Save

LISTED_AT_ONCE = 500


class Desk(Display):
    """Lays conversations open, and keeps them true to what is typed.

    ``store`` is where conversations are kept; a temporary one has a store of its own, in memory.
    """

    def __init__(
        self,
        screen: Screen[None],
        store: Store,
        backend: Backend,
        params: SamplingParams,
        settings: Callable[[], Settings],
        set_theme: Callable[[str], None],
    ) -> None:
        """``params`` were given on the command line; ``settings`` are asked whenever they matter."""
        self.store = store
        self.settings = settings
        self.set_theme = set_theme
        self._params = params
        self._temporary: Store | None = None
        self._listed = LISTED_AT_ONCE
        self.voice = Voice(screen)
        self._given_up: Outgoing | None = None
        self._budget = Budget(backend)
        super().__init__(screen, backend, Turns(backend, self.params_of), self.blank())

    def key(self, name: str) -> SafeText:
        """See :class:`Display`."""
        return label(self.settings(), name)

    def run(self, work: Callable[[], Coroutine[None, None, Any]], group: str, *, exclusive: bool = False) -> None:
        """Do something in the background of the screen; ``exclusive`` ends what the group does already."""
        self.screen.run_worker(work, group=group, exclusive=exclusive)

    # -- which conversation ----------------------------------------------------------------------------------------

    def blank(self, *, temporary: bool = False) -> Conversation:
        """A new conversation."""
        store = self.store
        if temporary and not store.is_temporary:
            if self._temporary is None:
                self._temporary = Store.temporary()
            store = self._temporary
        return Conversation(store, system=self.settings().system_prompt)

    @property
    def params(self) -> SamplingParams:
        """How to sample where a conversation has no wishes: those of the command line, those of the settings."""
        return self.settings().sampling.overlaid(self._params)

    def params_of(self, conversation: Conversation) -> SamplingParams:
        """How to sample in a conversation: its own wishes, those of the command line, those of the settings."""
        return self.params.overlaid(conversation.params)

    def show(self, conversation: Conversation) -> None:
        """Lay another conversation open."""
        if not self.is_listed and conversation is not self.conversation:
            self.composer.forget_sent()
        self.conversation = conversation
        self.screen.query_one(FindBar).close()
        composer = self.composer
        composer.fill(conversation.draft, conversation.draft_attachments)
        self.show_path()
        self.list_chats()

    def show_path(self) -> None:
        """Show the messages anew, and what is left of the context."""
        super().show_path()
        self.count_tokens()

    @property
    def is_listed(self) -> bool:
        """Whether the open conversation is one of the list; with ``--temporary`` even those are kept nowhere else."""
        return self.conversation.store is self.store

    @property
    def would_forget(self) -> bool:
        """Whether the open conversation is gone when it is left, with what was said, queued or typed in it."""
        conversation = self.conversation
        return not self.is_listed and bool(conversation.path or conversation.queue or not self.composer.draft.is_empty)

    @property
    def end_would_forget(self) -> bool:
        """Whether anything is gone when the app ends."""
        if not self.store.is_temporary:
            return self.would_forget
        return not self.composer.draft.is_empty or bool(self.store.chats(1))

    async def forgetting(self, then: Callable[[], Awaitable[object]]) -> None:
        """Do what leaves the open conversation; where that destroys it, ask before, in the background."""
        from tui.screens.forget import LEAVES, ForgetScreen

        left = self.conversation

        async def ask() -> None:
            if await self.screen.app.push_screen_wait(ForgetScreen(LEAVES)):
                self.turns.stop(left)  # nobody could find it again to do so
                await then()

        if self.would_forget:
            self.run(ask, "dialogs")
        else:
            await then()

    async def open(self, chat_id: int, message_id: int | None = None, words: Sequence[str] = ()) -> None:
        """Lay a stored conversation open, at one of its messages if one is named, and at the rarest words in that."""
        await self.forgetting(partial(self._open, chat_id, message_id, words))

    async def _open(self, chat_id: int, message_id: int | None, words: Sequence[str]) -> None:
        chat = self.conversation.chat
        if chat is None or chat.id != chat_id or not self.is_listed:
            try:
                conversation = self.turns.find(self.store, chat_id) or await Conversation.open(self.store, chat_id)
            except LocalqwenError as error:
                self.voice.complain(error)
                return
            # Last: what is typed while the other one is read belongs to this one.
            if not await self.voice.trying(self.leave()):
                return
            self.show(conversation)
        if message_id is not None:
            if all(message.id != message_id for message in self.conversation.path):
                if not await self.voice.trying(self.conversation.switch(message_id)):
                    return
                self.show_path()
            if self.transcript.go_to(message_id) and (found := self.transcript.rarest(words)):
                self.screen.query_one(FindBar).open(safe_line(found))

    async def leave(self) -> None:
        """Keep the draft of the conversation that is about to be left, and what is typed while it is being kept."""
        kept = None
        while (draft := self.composer.draft) != kept:
            await self.conversation.save_draft(draft.text, draft.attachments)
            kept = draft

    async def may_end(self) -> bool:
        """Keep all before the app ends; what cannot be kept is given up when it is asked for twice."""
        what = "What you have typed"
        try:
            await self.leave()
            if self.store.owes:
                what = "The end of an answer"
                await asyncio.to_thread(self.store.settle)
        except LocalqwenError as error:
            draft = self.composer.draft
            if draft != self._given_up:
                self._given_up = draft
                again = f"{self.key('quit')} again quits without it"
                self.voice.warn(safe_line(f"{what} is not kept ({error}). {again}."))
                return False
        return True

    def list_chats(self) -> None:
        """Bring the list of conversations up to date."""
        self.run(self._list_chats, "list", exclusive=True)

    def list_more(self) -> None:
        """Have more conversations in the list."""
        self._listed += LISTED_AT_ONCE
        self.list_chats()

    async def _list_chats(self) -> None:
        limit = self._listed
        try:
            chats = await asyncio.to_thread(self.store.chats, limit + 1)
        except ChatStoreError as error:
            self.voice.complain(error)
            return
        current = self.conversation.chat if self.is_listed else None
        if self.is_alive:
            shown = current.id if current is not None else None
            self.sidebar.show(chats[:limit], shown, are_more=len(chats) > limit)

    # -- drafts ----------------------------------------------------------------------------------------------------

    def keep_draft(self) -> None:
        """Commit what is typed, in the background."""
        draft = self.composer.draft
        self.run(partial(self._keep_draft, self.conversation, draft), "drafts")

    async def _keep_draft(self, conversation: Conversation, draft: Outgoing) -> None:
        before = conversation.chat is not None, conversation.has_draft
        await self.voice.trying(conversation.save_draft(draft.text, draft.attachments))
        # The list shows where drafts are, and those of conversations that have nothing else.
        if before != (conversation.chat is not None, conversation.has_draft) or conversation.tip is None:
            self.list_chats()

    async def unfinished(self, conversation: Conversation, message_id: int | None) -> tuple[str | None, Save | None]:
        """For the dialog that changes a message, or the system prompt: what was typed before, and what keeps the rest.

        In a temporary conversation nothing is kept.
        """
        if conversation.store.is_temporary:
            return None, None
        try:
            draft = await conversation.unfinished(message_id)
        except LocalqwenError as error:
            self.voice.complain(error)
            draft = None
        return draft, partial(conversation.save_unfinished, message_id)

    def count_tokens(self) -> None:
        """Show how much of the context the draft takes."""
        self.run(self._count_tokens, "tokens", exclusive=True)

    async def _count_tokens(self) -> None:
        composer = self.composer
        said = await self._budget.look(self.conversation, composer.outgoing)
        if self.is_alive:
            composer.set_budget(said.draft, said.left, said.is_estimate)
            composer.set_attachment_tokens(said.attachments)

    # -- turns -----------------------------------------------------------------------------------------------------

    def send(self, outgoing: Outgoing) -> None:
        """Ask, or queue behind the answer that is on its way; what cannot be kept comes back to the composer."""
        conversation = self.conversation
        self._follow()
        turn = self._ask if self.turns.begin(conversation) else self._enqueue
        self.run(partial(turn, conversation, outgoing), "turns")

    def take_turn(
        self, conversation: Conversation, prepare: Prepare, how: Literal["respond", "resume"] = "respond"
    ) -> bool:
        """Have a conversation answered after ``prepare`` has committed the question; ``False`` while it has a turn."""
        if not self.turns.begin(conversation):
            self.voice.say(safe_line(f"An answer is on its way: {self.key('answer.stop')} stops it."))
            return False
        if conversation is self.conversation:
            self._follow()
        self.run(partial(self._take, conversation, prepare, how), "turns")
        return True

    def _follow(self) -> None:
        """To the end, where the next answer comes; a mark further up is about what was said before."""
        self.transcript.clear_cursor()
        self.transcript.follow()

    def send_waiting(self, conversation: Conversation) -> None:
        """Ask what is due of a conversation's queue, first come first."""

        async def prepare() -> None:
            if await conversation.take_next(due=True) is None:
                self._asked(conversation)
                raise LocalqwenError("another window has sent what waited here")

        self.take_turn(conversation, prepare)

    async def _ask(self, conversation: Conversation, outgoing: Outgoing) -> None:
        kept: list[Message] = []

        async def prepare() -> None:
            kept.append(await conversation.ask(outgoing.text, outgoing.attachments))

        if not await self._take(conversation, prepare, "respond") and not kept:
            self._give_back(conversation, outgoing)

    async def _enqueue(self, conversation: Conversation, outgoing: Outgoing) -> None:
        if not await self.voice.trying(conversation.enqueue(outgoing.text, outgoing.attachments)):
            self._give_back(conversation, outgoing)
        elif not self.turns.is_under_way(conversation):
            # The answer ended while the message was being kept.
            self.send_waiting(conversation)
        self._queue_changed(conversation)

    async def _take(self, conversation: Conversation, prepare: Prepare, how: Literal["respond", "resume"]) -> bool:
        return await self.voice.trying(self.turns.take(conversation, prepare, self._asked, self._changed, how))

    def _give_back(self, conversation: Conversation, outgoing: Outgoing) -> None:
        """What could not be kept goes back to where it was typed."""
        if conversation is self.conversation and self.is_alive:
            now, text = self.composer.draft, self.composer.as_typed(outgoing.text)
            text = f"{text}\n{now.text}" if now.text else text
            self.composer.fill(text, (*outgoing.attachments, *now.attachments))

    def _queue_changed(self, conversation: Conversation) -> None:
        self.list_chats()  # the draft has become a message
        if conversation is self.conversation and self.is_alive:
            self.show_queue()
            self.count_tokens()

    def _asked(self, conversation: Conversation) -> None:
        if conversation is self.conversation and self.is_alive:
            self.show_question()
            self.count_tokens()
        self.list_chats()

    def _changed(self, conversation: Conversation) -> None:
        if conversation is not self.conversation or not self.is_alive:
            return
        if conversation.is_answering:
            self.show_answer()
        else:
            self.paint()
            if conversation.queue:
                self.show_queue()  # it waits for a person now
            self.count_tokens()
