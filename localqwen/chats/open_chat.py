"""A conversation as it is open in this process: what is shown of it, its draft, its settings and its queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Self

from localqwen.chats.answer import Answer
from localqwen.chats.answering import Answering
from localqwen.chats.attachment import Attachment
from localqwen.chats.commit import committed
from localqwen.chats.store import Store
from localqwen.chats.tree import Chat, Message, Queued, Tree, resumable
from localqwen.errors import LocalqwenError
from localqwen.params import SamplingParams


class BusyError(LocalqwenError):
    """Something that has to wait for the end of the answer that is being written."""

    def __init__(self) -> None:
        super().__init__("an answer is on its way in this conversation; stop it first, or wait for its end")


class OpenChat:
    """What a conversation is, apart from asking; ``chat`` is ``None`` until there is something to keep.

    Everything that changes it may raise :class:`~localqwen.chats.store.ChatStoreError`; then nothing has changed.
    """

    def __init__(
        self,
        store: Store,
        chat: Chat | None = None,
        tree: Tree | None = None,
        queue: Sequence[Queued] = (),
        *,
        system: str = "",
        params: SamplingParams | None = None,
    ) -> None:
        """``system`` and ``params`` are what a new conversation begins with; a stored one has its own."""
        self._store = store
        # A draft that is emptied removes its conversation; that must not happen to one that is being asked in.
        self._writing = asyncio.Lock()
        self._answering: Answering | None = None
        self._is_turn = False
        self._stop_asked = False
        self._initial = system, params or SamplingParams()
        self.chat = chat
        self.tree = tree if tree is not None else Tree()
        self.tip = chat.tip if chat is not None else None
        self.draft = chat.draft if chat is not None else ""
        self.draft_attachments = chat.draft_attachments if chat is not None else ()
        self.queue = tuple(queue)
        self._due: set[int] = set()

    @classmethod
    async def open(cls, store: Store, chat_id: int) -> Self:
        """Read a conversation from the store."""
        chat = await asyncio.to_thread(store.chat, chat_id)
        tree = await asyncio.to_thread(store.tree, chat_id)
        return cls(store, chat, tree, await asyncio.to_thread(store.queue, chat_id))

    @property
    def store(self) -> Store:
        """Where it is kept."""
        return self._store

    @property
    def answer(self) -> Answer | None:
        """The answer that is being written, or was written last on this path since the conversation was opened."""
        return self._answering.answer if self._answering is not None else None

    @property
    def is_answering(self) -> bool:
        """Whether an answer is on its way."""
        return self.answer is not None and not self.answer.is_over

    @property
    def has_draft(self) -> bool:
        """Whether there is a draft, as it is kept."""
        return bool(self.draft or self.draft_attachments)

    @property
    def path(self) -> list[Message]:
        """The messages to show, first to last."""
        return self.tree.path(self.tip)

    @property
    def system(self) -> str:
        """The system prompt; ``""`` for none."""
        return self.chat.system if self.chat is not None else self._initial[0]

    @property
    def params(self) -> SamplingParams:
        """The sampling parameters of this conversation; what is ``None`` is the model's default."""
        return self.chat.params if self.chat is not None else self._initial[1]

    @property
    def can_resume(self) -> bool:
        """Whether the path ends with an answer that :meth:`resume` can continue."""
        return not self._is_turn and resumable(self.path) is not None

    # -- the draft and the settings --------------------------------------------------------------------------------

    async def save_draft(self, text: str, attachments: Sequence[Attachment] | None = None) -> None:
        """Keep what is typed; an empty conversation exists only as long as it has a draft.

        ``attachments`` are those of the draft; ``None`` leaves them as they are. A draft that is as it was kept is
        left alone, for another window may have gone on with it; but one that another window has cleared comes back.
        """
        async with self._writing:
            files = self.draft_attachments if attachments is None else tuple(attachments)
            is_as_kept = (text, files) == (self.draft, self.draft_attachments)
            if is_as_kept and (self.chat is None or not (text or files) or await self._has_draft(self.chat)):
                return
            was, chat = self.chat, await self._ensure_chat()
            changed = files if is_as_kept or chat is not was or files != self.draft_attachments else None
            await committed(self._store.save_draft, chat.id, text, changed)
            self.draft, self.draft_attachments = text, files
            if not text and not files and self.tip is None:
                await self._discard_if_empty(chat)

    async def set_system(self, system: str) -> None:
        """Change the system prompt, from the next answer on; ``""`` for none."""
        async with self._writing:
            if system != self.system:
                chat = await self._ensure_chat()
                await committed(self._store.set_system, chat.id, system)
                await self._refresh()

    async def begin_with(self, system: str) -> None:
        """As :meth:`set_system`, but a conversation that is not kept yet stays so."""
        if self.chat is None:
            self._initial = system, self._initial[1]
        else:
            await self.set_system(system)

    async def set_params(self, params: SamplingParams) -> None:
        """Change the sampling parameters; what is ``None`` is the model's default."""
        async with self._writing:
            if params != self.params:
                chat = await self._ensure_chat()
                await committed(self._store.set_params, chat.id, params)
                await self._refresh()

    async def rename(self, title: str) -> None:
        """Give the conversation another title."""
        async with self._writing:
            chat = await self._ensure_chat()
            await committed(self._store.rename, chat.id, title)
            await self._refresh()

    async def save_unfinished(self, message_id: int | None, text: str | None) -> None:
        """Keep what is being written in place of a message, or for ``None`` of the system prompt, until it is accepted.

        A ``text`` of ``None`` forgets it.
        """
        async with self._writing:
            if text is None and self.chat is None:
                return
            chat = await self._ensure_chat()
            await committed(self._store.save_unfinished, chat.id, message_id, text)
            if text is None and self.tip is None:
                await self._discard_if_empty(chat)

    async def unfinished(self, message_id: int | None) -> str | None:
        """What was being written in place of a message, or for ``None`` of the system prompt."""
        if self.chat is None:
            return None
        return await asyncio.to_thread(self._store.unfinished, self.chat.id, message_id)

    # -- the queue -------------------------------------------------------------------------------------------------

    @property
    def due(self) -> tuple[Queued, ...]:
        """What of the queue is to be asked as soon as it can be: it was queued here, and nothing has been held since.

        What was there when the conversation was opened waits for a person.
        """
        return tuple(one for one in self.queue if one.id in self._due)

    def hold(self) -> None:
        """Let all that is queued now wait for a person: they have stopped an answer, or one has failed."""
        self._due.clear()

    def release(self) -> None:
        """Let nothing that is queued wait for a person any more."""
        self._due.update(one.id for one in self.queue)

    async def enqueue(self, text: str, attachments: Sequence[Attachment] = ()) -> Queued:
        """Keep a message for later, in place of the draft; :meth:`take_next` asks it."""
        async with self._writing:
            chat = await self._ensure_chat()
            queued = await committed(self._store.enqueue, chat.id, text, attachments)
            self.queue += (queued,)
            self._due.add(queued.id)
            self._draft_is_gone()
            return queued

    async def remove(self, queued_id: int) -> Queued | None:
        """Take a message out of the queue without asking it; ``None`` when it is in the queue no more.

        To put it back into the composer, save it as the draft first: then a kill in between loses nothing.
        """
        async with self._writing:
            removed = await committed(self._store.dequeue, queued_id)
            found = next((one for one in self.queue if one.id == queued_id), None)
            self.queue = tuple(one for one in self.queue if one.id != queued_id)
            return found if removed else None

    # -- inside ----------------------------------------------------------------------------------------------------

    def _refuse_while_busy(self) -> None:
        if self._is_turn:
            raise BusyError

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[None]:
        """Around whatever moves the tip: one at a time, and never under an answer."""
        self._refuse_while_busy()
        async with self._writing:
            self._refuse_while_busy()
            yield

    @contextmanager
    def _turn(self) -> Iterator[None]:
        self._refuse_while_busy()
        self._is_turn, self._stop_asked = True, False
        try:
            yield
        finally:
            self._is_turn = False

    async def _has_draft(self, chat: Chat) -> bool:
        return await asyncio.to_thread(self._store.has_draft, chat.id)

    async def _ensure_chat(self) -> Chat:
        # One in which there is only a draft goes when another window clears that.
        may_be_gone = self.chat is not None and self.tip is None
        if self.chat is None or (may_be_gone and not await asyncio.to_thread(self._store.is_there, self.chat.id)):
            self.chat = await committed(self._store.create_chat, *self._initial)
        return self.chat

    async def _discard_if_empty(self, chat: Chat) -> None:
        if await committed(self._store.discard_if_empty, chat.id, *self._initial):
            self.chat = None

    async def _refresh(self) -> None:
        if self.chat is not None:
            self.chat = await committed(self._store.chat, self.chat.id)

    def _draft_is_gone(self) -> None:
        self.draft, self.draft_attachments = "", ()

    def _show(self, message: Message) -> None:
        self.tree.put(message)
        self.tip = message.id

    def _go_to(self, tip: int) -> None:
        self.tip = tip
        self._answering = None
