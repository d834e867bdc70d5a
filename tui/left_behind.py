"""What an earlier run of the chat has left: drafts that were never sent, edits, and messages that wait in a queue."""

from __future__ import annotations

import asyncio

from localqwen.chats.session import Conversation
from localqwen.chats.store import ChatStoreError
from localqwen.chats.unfinished_store import Leftover
from tui.attachments import Outgoing
from tui.desk import Desk
from tui.sanitize import safe_line

# What was left, and how to go on with it.
LEFT: dict[Leftover, tuple[str, str]] = {
    "draft": ("A message that was not sent is", "the list marks it with ✎"),
    "edit": ("A message that was being edited is", "{edit} on that message has the new text again"),
    "system": ("A system prompt that was being written is", "open it, then /system"),
}


async def take_up_draft(desk: Desk) -> None:
    """Lay the draft open that was left behind, unless the person has begun something else by then."""
    first = desk.conversation
    try:
        chat = await asyncio.to_thread(desk.store.abandoned_draft)
    except ChatStoreError as error:
        desk.voice.complain(error)
        return
    is_untouched = desk.conversation is first and first.chat is None and not desk.turns.is_under_way(first)
    if chat is not None and desk.is_alive and is_untouched and desk.composer.draft == Outgoing():
        desk.show(Conversation(desk.store, chat))


async def tell_left(desk: Desk) -> None:
    """Tell of drafts in conversations that have messages, and of what was being changed in a dialog."""
    try:
        left = await asyncio.to_thread(desk.store.left_behind)
    except ChatStoreError as error:
        desk.voice.complain(error)
        return
    for kind, (what, how) in LEFT.items():
        titles = list(dict.fromkeys(one.title for one in left if one.kind == kind))
        if titles and desk.is_alive:
            more = f" and {len(titles) - 1} more" if len(titles) > 1 else ""
            where = f"“{safe_line(titles[0]) or 'Untitled'}”{more}"
            edit = desk.key("message.edit")
            desk.voice.say(safe_line(f"{what} in {where}: {how.format(edit=edit)}."), seconds=10)


async def tell_waiting(desk: Desk) -> None:
    """Tell of messages that a kill or a stop has left in a queue."""
    try:
        waiting = await asyncio.to_thread(desk.store.chats_with_queue)
        chat = await asyncio.to_thread(desk.store.chat, waiting[0]) if waiting else None
    except ChatStoreError as error:
        desk.voice.complain(error)
        return
    if chat is not None and desk.is_alive:
        title = safe_line(chat.title)
        desk.voice.say(safe_line(f"Messages wait to be sent in “{title}”: open it, then /send-queue."), seconds=10)
