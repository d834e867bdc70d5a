"""The composer as the app sees it: a text, what is attached to it, and how much of the context they take."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from textual.app import ComposeResult
from textual.message import Message

from localqwen.chats.attachment import Attachment
from tui.attachments import Outgoing
from tui.completion import SlashItem, as_typed
from tui.later import Later
from tui.sanitize import safe_line, without_controls
from tui.widgets.composer.draft import Attached
from tui.widgets.composer.keys import ComposerKeys
from tui.widgets.composer.meter import budget_words

# What a killed process loses of a draft at most, and on top what a commit takes: 250 ms were promised.
DEBOUNCE_SECONDS = 0.15


async def _nothing() -> Sequence[str]:
    return ()


class Composer(ComposerKeys):
    """Where a message is written.

    Keys have their effect in the order in which they come, even when they come faster than they are handled.
    """

    DEFAULT_CSS = """
    Composer {
        height: auto;
        border: round $foreground 25%;
        padding: 0 1;

        &:focus-within {
            border: round $primary 70%;
        }

        &.-over {
            border-title-color: $warning;
            border-title-style: bold;
        }
    }
    """

    class DraftChanged(Message):
        """A moment after the person changed something; not after ``fill()`` or sending, whose caller knows.

        What Enter would send is ``Composer.outgoing``. To keep a draft, take ``Composer.draft``: it is also right while
        an earlier message is looked at, and after another conversation's draft was put in.
        """

    @dataclass
    class SlashCommand(Message):
        """A command was given; ``argument`` is empty without one."""

        name: str
        argument: str

    def __init__(
        self,
        send: Callable[[Outgoing], None],
        *,
        commands: Sequence[SlashItem] = (),
        history: Callable[[], Awaitable[Sequence[str]]] = _nothing,
        folder: Path | None = None,
        editor: Callable[[], str | None] = lambda: None,
        placeholder: str = "Ask anything",
        id: str | None = None,  # noqa: A002 (Textual's name)
    ) -> None:
        """``send`` takes what is to be sent.

        It is a call and no message, because keys that come right behind Enter belong to the next text. ``history``
        gives earlier texts as they were typed, oldest first, when a person walks through them; ``folder`` is where
        ``@`` paths start (default: the working directory); ``editor`` gives the settings' editor.
        """
        super().__init__(send, history=history, folder=folder, editor=editor, placeholder=placeholder, id=id)
        self._debounce = Later(self, self._tell_change)
        self.commands = commands

    def compose(self) -> ComposeResult:
        """The popup lies over what is above."""
        yield self._popup
        yield self._chips
        yield self._area

    @property
    def commands(self) -> Sequence[SlashItem]:
        """The slash commands; without any, a slash is only a slash."""
        return self._suggester.commands

    @commands.setter
    def commands(self, items: Sequence[SlashItem]) -> None:
        self._suggester.commands = items

    @property
    def text(self) -> str:
        """The text that is shown."""
        return self._area.text

    def as_typed(self, sent: str) -> str:
        """What a person has to type here to send such a text."""
        return as_typed(sent, self.commands)

    @property
    def outgoing(self) -> Outgoing:
        """What is shown, as it would be sent."""
        return Outgoing(self._area.text, self._attached.attachments)

    @property
    def draft(self) -> Outgoing:
        """What is to be kept: the person's own draft, also while an earlier message is looked at.

        One that was changed is a draft as well, and then both are to be kept.
        """
        text, waiting = self._area.text, self._history.draft or ""
        if self._history.is_as_sent(text):
            text = waiting
        elif waiting and text != waiting:
            text = f"{waiting}\n\n{text}" if text else waiting
        return Outgoing(text, self._attached.attachments)

    def fill(self, text: str, attachments: Sequence[Attachment] = ()) -> None:
        """Hold another draft, with the cursor at its end. Nothing is posted."""
        self.forget_change()
        self._history.leave()
        self._attached = Attached([Attachment(one.name, without_controls(one.text)) for one in attachments])
        self._put(without_controls(text))

    def forget_sent(self) -> None:
        """Offer no message again that was sent here and is kept nowhere."""
        self._history.forget()
        self._earlier = ()

    def insert(self, text: str) -> None:
        """Put text in at the cursor."""
        self._area.type_in(without_controls(text))
        self.typed()

    def set_budget(self, draft_tokens: int | None, left: int | None, estimate: bool = False) -> None:
        """Show how many tokens the draft has and how many the context has left for it; ``None`` is not known."""
        words, is_over = budget_words(draft_tokens, left, estimate=estimate)
        self.border_title = safe_line(words)
        self.set_class(is_over, "-over")

    def set_attachment_tokens(self, tokens: Sequence[int | None]) -> None:
        """Show the attachments' tokens, in their order."""
        self._attached.count(tokens)
        self._show_chips()

    async def catch_up(self) -> None:
        """Wait until the keys that have arrived are in the text."""
        done = asyncio.Event()
        self._area.call_later(done.set)
        await done.wait()

    def run_command(self, name: str, argument: str) -> None:
        """Tell the app that a command was given."""
        self.post_message(self.SlashCommand(name, argument))

    def changed(self) -> None:
        """Tell the app soon, and once for many keys."""
        if self.is_mounted:
            self._debounce.set(DEBOUNCE_SECONDS)

    def forget_change(self) -> None:
        """Tell nothing of what was changed last: it was sent, or another draft is in its place."""
        self._debounce.cancel()

    def _tell_change(self) -> None:
        self.post_message(self.DraftChanged())
