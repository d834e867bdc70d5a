"""How much of the context a draft would take, counted by the model's own tokenizer where there is one to ask."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from localqwen.chats.attachment import Attachment, content_of
from localqwen.chats.session import Conversation
from localqwen.chats.tree import Message, history
from localqwen.events import Ready
from localqwen.token_count import TokenCount
from tui.attachments import Outgoing
from tui.backend import Backend

# How many counts of attachments are remembered.
MOST_COUNTED = 64


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens of the draft, of each attachment, and what is left for the draft; ``None`` where it is unknown."""

    draft: int | None
    left: int | None
    attachments: tuple[int | None, ...]
    is_estimate: bool


class Budget:
    """Counts, and remembers what it counted: an attachment of 1 MiB takes the tokenizer half a second."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._counted: dict[tuple[Attachment, str, bool], TokenCount] = {}
        self._told: tuple[object, TokenCount] | None = None

    async def look(self, conversation: Conversation, outgoing: Outgoing) -> Spent:
        """What the draft takes, and what is left for it; nothing to say of an empty one in an empty conversation.

        What is queued and goes out before the draft takes its part of what is left.
        """
        if outgoing.is_empty and not conversation.path:
            return Spent(None, None, (), is_estimate=False)
        files = [await self._count_file(one) for one in outgoing.attachments]
        typed = await self._backend.count_tokens(outgoing.text) if outgoing.text else TokenCount(0, is_exact=True)
        before = [await self._count_history(conversation)]
        for one in conversation.due:
            before += [await self._count_file(file) for file in one.attachments]
            before.append(await self._backend.count_tokens(one.text))
        counts = [*files, typed, *before]
        state = self._backend.state
        window = state.context if isinstance(state, Ready) else 0
        draft = sum(one.tokens for one in (*files, typed))
        return Spent(
            draft if not outgoing.is_empty else None,
            max(0, window - sum(one.tokens for one in before)) if window else None,
            tuple(one.tokens for one in files),
            is_estimate=not all(one.is_exact for one in counts),
        )

    async def _count_history(self, conversation: Conversation) -> TokenCount:
        path = conversation.path
        known = 0
        for at in range(len(path) - 1, -1, -1):
            usage = path[at].usage
            if usage is not None and usage.prompt_tokens and self._counts_still(path[at], conversation):
                # What an answer was made from, and the answer itself, were counted when it was made.
                known = usage.prompt_tokens + usage.completion_tokens
                path = path[at + 1 :]
                break
        told = history(path, "" if known else conversation.system)
        # Looked at with every pause in typing, and it may be a whole conversation.
        key = told, self._backend.model, isinstance(self._backend.state, Ready)
        if self._told is None or self._told[0] != key:
            count = await self._backend.count_tokens(told) if told else TokenCount(0, is_exact=True)
            self._told = key, count
        more = self._told[1]
        return TokenCount(known + more.tokens, more.is_exact)

    def _counts_still(self, answer: Message, conversation: Conversation) -> bool:
        """Whether what an answer was made from would be as many tokens today: for this model, after this prompt."""
        changed = conversation.chat.system_changed if conversation.chat is not None else 0.0
        return answer.created >= changed and answer.model in {None, self._backend.model}

    async def _count_file(self, attachment: Attachment) -> TokenCount:
        # A model that is there counts anew what was estimated before.
        key = attachment, self._backend.model, isinstance(self._backend.state, Ready)
        known = self._counted.pop(key, None)
        if known is None:
            text = await asyncio.to_thread(content_of, "", [attachment])
            known = await self._backend.count_tokens(text)
        self._counted[key] = known
        while len(self._counted) > MOST_COUNTED:
            del self._counted[next(iter(self._counted))]
        return known
