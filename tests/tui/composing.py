"""An app with a composer and nothing else, for tests of the composer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from textual import events
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widgets import Static

from tui.attachments import Outgoing
from tui.completion import SlashItem
from tui.widgets.chips import Chips
from tui.widgets.completions import Completions
from tui.widgets.composer import Composer
from tui.widgets.composer.area import Area

COMMANDS = [
    SlashItem("new", "Start over"),
    SlashItem("model", "Another model", "name"),
    SlashItem("help", "All keys"),
]


class ComposerApp(App[None]):
    """Notes what the composer sends and says."""

    CSS = "#above { height: 1fr; }"

    def __init__(
        self,
        folder: Path | None = None,
        history: Sequence[str] = (),
        commands: Sequence[SlashItem] = COMMANDS,
        editor: str | None = None,
    ) -> None:
        super().__init__()
        self._history = history
        self.sent: list[Outgoing] = []
        self.commands: list[tuple[str, str]] = []
        self.changes: list[Outgoing] = []
        self.said: list[str] = []
        self.stopped = 0
        self.lends = False
        self.composer = Composer(
            self.sent.append,
            id="composer",
            folder=folder,
            history=self._earlier,
            commands=commands,
            editor=lambda: editor,
        )

    def compose(self) -> ComposeResult:
        yield Static("above", id="above")
        yield self.composer

    def on_mount(self) -> None:
        self.bind("escape", "stop_answer")
        self.composer.focus()

    def action_stop_answer(self) -> None:
        self.stopped += 1

    async def _earlier(self) -> Sequence[str]:
        return self._history

    def on_composer_slash_command(self, event: Composer.SlashCommand) -> None:
        self.commands.append((event.name, event.argument))

    def on_composer_draft_changed(self, event: Composer.DraftChanged) -> None:
        self.changes.append(self.composer.outgoing)

    def notify(self, message: str, **_: object) -> None:
        self.said.append(message)

    @contextmanager
    def suspend(self) -> Iterator[None]:
        if not self.lends:
            with super().suspend():
                yield
        else:
            yield

    @property
    def area(self) -> Area:
        return self.query_one(Area)

    @property
    def popup(self) -> Completions:
        return self.query_one(Completions)

    @property
    def chips(self) -> Chips:
        return self.query_one(Chips)

    @property
    def sent_texts(self) -> list[str]:
        return [outgoing.text for outgoing in self.sent]


def shown(app: App[None]) -> str:
    """What a person sees, as text."""
    width, height = app.size
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in line)[:width].rstrip() for line in lines[:height])


async def until(pilot: Pilot[None], condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain; the screen shows:\n" + shown(pilot.app)
        await asyncio.sleep(0.01)
        await pilot.pause(0)


def burst(app: App[None], *keys: str) -> None:
    """Keys as they come from a terminal that has them all at once; a longer string is a named key."""
    names = {"\n": "ctrl+j", " ": "space", "/": "slash", "@": "at", ".": "full_stop"}
    for key in keys:
        character = key if len(key) == 1 else " " if key == "space" else None
        app.post_message(events.Key(names.get(key, key), character))


def typing(text: str) -> list[str]:
    """The keys that type a text."""
    return [*text]


async def settled(pilot: Pilot[None]) -> None:
    """Wait until all keys have had their effect."""
    app = pilot.app
    assert isinstance(app, ComposerApp)
    await pilot.pause()
    await app.composer.catch_up()
    await pilot.pause()
