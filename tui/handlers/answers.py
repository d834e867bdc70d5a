"""Commands that are about messages and their branches."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from localqwen.chats.tree import Message, Queued
from localqwen.events import Loading
from tui.attachments import AttachmentError, Outgoing, read_attachment
from tui.desk import Desk
from tui.handlers import Handler, asked
from tui.sanitize import SafeText, safe_line
from tui.widgets.composer import Composer

NOTHING = SafeText("There is no message yet.")


class AnswerCommands:
    """Stop, answer again, go on, edit, switch branches, the queue."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By command id."""
        return {
            "answer.stop": self.stop,
            "answer.regenerate": self.regenerate,
            "answer.continue": self.continue_,
            "message.edit": self.edit,
            "branch.previous": lambda _: self.switch(-1),
            "branch.next": lambda _: self.switch(1),
            "message.attach": self.attach,
            "queue.send": self.send_queue,
            "queue.clear": self.clear_queue,
        }

    def stop(self, _: str) -> None:
        """End the answer here and keep its text."""
        desk = self._desk
        if isinstance(desk.backend.state, Loading) and not desk.turns.is_under_way(desk.conversation):
            # Minutes of loading are not for one key to throw away.
            desk.voice.say(SafeText("The model is loading: /cancel-load gives that up."))
        desk.turns.stop(desk.conversation)
        desk.composer.focus()

    async def regenerate(self, _: str) -> None:
        """Another answer beside the marked or last one, or one to the question that is marked or was never answered."""
        desk = self._desk
        conversation = desk.conversation
        marked = self._marked(None)
        if marked is None:
            desk.voice.say(SafeText("There is no answer yet."))
            return
        message_id = marked.id

        async def prepare() -> None:
            conversation.rewind(message_id)

        desk.take_turn(conversation, prepare)

    async def continue_(self, _: str) -> None:
        """More of the last answer; where it was never begun, all of it."""
        desk = self._desk
        conversation = desk.conversation
        path = conversation.path
        if desk.turns.is_under_way(conversation):
            desk.voice.say(SafeText("It is going on already."))
        elif conversation.can_resume:
            desk.take_turn(conversation, _nothing, "resume")
        elif path and path[-1].role == "user":
            desk.take_turn(conversation, _nothing)
        else:
            desk.voice.say(SafeText("There is no answer to continue."))

    async def edit(self, _: str) -> None:
        """Change the marked message, or the person's last one: a question is asked again, an answer only kept."""
        desk = self._desk
        conversation = desk.conversation
        message = self._marked(None if desk.transcript.seen is not None else "user")
        if message is None:
            desk.voice.say(NOTHING)
            return
        if desk.turns.is_under_way(conversation):
            desk.voice.say(safe_line(f"An answer is on its way: {desk.key('answer.stop')} stops it."))
            return
        is_question = message.role == "user"
        title = SafeText("Edit your message" if is_question else "Edit the answer")
        what = "asks again and keeps the old version" if is_question else "keeps it as a branch"
        then = "" if is_question else "; /continue then goes on from there"
        keys = f"{desk.key('dialog.cancel')} cancels, {desk.key('dialog.editor')} opens your editor"
        hint = safe_line(f"{desk.key('dialog.accept')} {what}{then}; {keys}")
        from tui.screens.edit import EditScreen

        async def keep(text: str) -> None:
            if is_question:
                await conversation.edit(message.id, text, message.attachments)
            else:
                await conversation.edit_answer(message.id, text)

        files = [safe_line(one.name) for one in message.attachments]
        editor = desk.settings().editor or None
        draft, save = await desk.unfinished(conversation, message.id)
        screen = EditScreen(title, message.text, hint, files=files, keep=keep, editor=editor, draft=draft, save=save)
        if await desk.screen.app.push_screen_wait(screen) is None:
            await desk.voice.trying(conversation.save_unfinished(message.id, None))
            return
        if is_question:
            desk.take_turn(conversation, _nothing)
        elif conversation is desk.conversation:
            desk.show_path()

    async def switch(self, direction: int, key: int | None = None) -> None:
        """Show the sibling of the marked message, of ``key``, or of the last one that has siblings."""
        desk = self._desk
        conversation = desk.conversation
        message = conversation.tree[key] if key is not None else self._branched()
        if message is None:
            desk.voice.say(SafeText("There are no branches here: editing or answering again makes them."))
            return
        siblings = conversation.tree.siblings(message.id)
        at = [one.id for one in siblings].index(message.id) + direction
        if not 0 <= at < len(siblings):
            desk.voice.say(SafeText("This is the last version." if direction > 0 else "This is the first version."))
        elif await desk.voice.trying(conversation.switch(siblings[at].id)):
            desk.show_path()
            desk.transcript.go_to(siblings[at].id)

    async def attach(self, name: str) -> None:
        """Put a text file beside the draft."""
        desk = self._desk
        conversation = desk.conversation
        if not name:
            name = await asked(
                desk, "Attach", SafeText(""), "A text file, from the folder where localqwen was started."
            )
        if not name.strip():
            return
        try:
            attachment = await asyncio.to_thread(read_attachment, name.strip(), Path.cwd())
        except AttachmentError as error:
            desk.voice.complain(error)
            return
        if conversation is desk.conversation:
            desk.composer.attach(attachment)
            desk.composer.focus()

    async def send_queue(self, _: str) -> None:
        """Send what waits since a stop or an end of the program, behind the answer that is on its way."""
        desk = self._desk
        conversation = desk.conversation
        if not conversation.queue:
            desk.voice.say(SafeText("Nothing waits to be sent."))
            return
        conversation.release()
        if desk.turns.is_under_way(conversation):
            desk.show_queue()
            desk.count_tokens()
        else:
            desk.send_waiting(conversation)

    async def clear_queue(self, _: str) -> None:
        """Put what waits back into the composer."""
        desk = self._desk
        conversation = desk.conversation
        if not conversation.queue:
            desk.voice.say(SafeText("Nothing waits to be sent."))
            return
        queue = conversation.queue
        both = _before(queue, desk.composer)
        # The draft first: a kill in between then doubles the text, and never loses it.
        if not await desk.voice.trying(conversation.save_draft(both.text, both.attachments)):
            return
        for one in queue:
            await desk.voice.trying(conversation.remove(one.id))
        if conversation is desk.conversation:
            both = _before(queue, desk.composer)  # somebody may have typed on
            desk.composer.fill(both.text, both.attachments)
            desk.show_path()
            desk.list_chats()

    def _marked(self, role: str | None) -> Message | None:
        """The marked message, or the one before it in that role; without a mark that is in view, the last one."""
        desk = self._desk
        path = desk.conversation.path
        current = desk.transcript.seen
        if current is not None and current.key is not None:
            ids = [message.id for message in path]
            if current.key in ids:
                path = path[: ids.index(current.key) + 1]
        return next((message for message in reversed(path) if role is None or message.role == role), None)

    def _branched(self) -> Message | None:
        marked = self._marked(None)
        tree = self._desk.conversation.tree
        if self._desk.transcript.seen is not None:
            return marked if marked is not None and tree.position(marked.id)[1] > 1 else None
        path = self._desk.conversation.path
        return next((message for message in reversed(path) if tree.position(message.id)[1] > 1), None)


async def _nothing() -> None:
    """The question is there already."""


def _before(queue: Sequence[Queued], composer: Composer) -> Outgoing:
    """What waits, and then what is being written."""
    draft = composer.draft
    waiting = composer.as_typed("\n\n".join(one.text for one in queue if one.text))
    text = "\n\n".join(filter(None, [waiting, draft.text]))
    return Outgoing(text, (*(file for one in queue for file in one.attachments), *draft.attachments))
