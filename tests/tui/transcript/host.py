"""A transcript alone on a screen, and what its tests need."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from textual.app import App, ComposeResult
from textual.message import Message
from textual.pilot import Pilot
from textual.selection import SELECT_ALL

from tui.sanitize import SafeText
from tui.theme import DARK, LIGHT
from tui.widgets.transcript.answer import AnswerEntry
from tui.widgets.transcript.base import Entry, Look
from tui.widgets.transcript.copying import copied
from tui.widgets.transcript.document import Document
from tui.widgets.transcript.styles import Styles
from tui.widgets.transcript.view import Transcript

STYLES = Styles.from_theme(DARK.to_color_system().generate())
WORDS = "The quick brown fox jumps over the lazy dog and runs on until the evening comes. "


class Host(App[None]):
    """Shows entries and keeps the messages that the transcript posts."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        super().__init__()
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = DARK.name
        self.entries = list(entries)
        self.heard: list[Message] = []

    def compose(self) -> ComposeResult:
        yield Transcript(id="transcript")

    def on_mount(self) -> None:
        self.view.show(self.entries)
        self.view.focus()

    @property
    def view(self) -> Transcript:
        return self.query_one(Transcript)

    def on_transcript_copy(self, event: Transcript.Copy) -> None:
        self.heard.append(event)

    def on_transcript_switch(self, event: Transcript.Switch) -> None:
        self.heard.append(event)

    @property
    def copied(self) -> str | None:
        """The text of the last copy that was asked for."""
        texts = [event.text for event in self.heard if isinstance(event, Transcript.Copy)]
        return texts[-1] if texts else None

    def lines(self) -> list[str]:
        """What a person sees."""
        height = self.view.size.height
        return [self.view.render_line(y).text.rstrip() for y in range(height)]


async def until(pilot: Pilot[None], condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await pilot.pause(0.01)


async def settled(pilot: Pilot[None], app: Host) -> None:
    """Wait until nothing is left to do."""
    await until(pilot, lambda: app.view.is_settled and app.view.is_exact)
    await pilot.pause()


def answer(text: str, *, key: int | None = None) -> AnswerEntry:
    """A finished answer."""
    entry = AnswerEntry(SafeText("demo"), key=key)
    entry.set_text(text)
    entry.finish()
    return entry


def look(width: int = 60) -> Look:
    """A width and the dark theme."""
    return Look(width, STYLES)


def copied_whole(entry: Entry, width: int = 60) -> str:
    """What selecting all of an entry copies."""
    document = Document()
    document.replace([entry])
    document.set_look(look(width))
    document.measure(0)
    return copied(document, SELECT_ALL)
