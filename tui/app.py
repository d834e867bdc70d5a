"""The app: themes, settings, the chat screen, and the connection to a model."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual import events
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.screen import Screen
from textual.theme import Theme

from localqwen.chats.store import Store
from localqwen.errors import LocalqwenError
from localqwen.params import SamplingParams
from localqwen.settings import Settings
from tui.backend import Backend
from tui.collector import Collector
from tui.commands import COMMANDS, key_label
from tui.connections import Connection
from tui.keymap import label, resolved
from tui.net import Net, cause, keep_pumps_alive, trace_of
from tui.pastes import guard
from tui.sanitize import safe, safe_line, without_controls
from tui.screens.chat import ChatScreen
from tui.stylesheets import KeptStylesheet
from tui.theme import THEMES, first_theme, has_no_color, more_variables, next_theme, theme_complaint

# What shows answers and what writes settings takes some frames' time to import: it comes beside the event loop, before
# it is needed.
NEEDED_SOON = ("tui.widgets.transcript.answer", "localqwen.settings_file")
WARM_UP_SECONDS = 0.3
COLLECT_SECONDS = 5.0
# The CSS of the next theme is parsed in pieces, and when this one is painted.
PREPARE_SECONDS, BETWEEN_PIECES_SECONDS = 0.3, 0.01


class ChatApp(App[None]):
    """A chat with one model at a time."""

    TITLE = "localqwen"
    CSS_PATH = "localqwen.tcss"
    HORIZONTAL_BREAKPOINTS: list[tuple[int, str]] | None = [(0, "-narrow"), (64, "-roomy")]  # noqa: RUF012 (Textual declares it so)
    VERTICAL_BREAKPOINTS: list[tuple[int, str]] | None = [(0, "-short"), (24, "-tall")]  # noqa: RUF012 (Textual declares it so)
    BINDINGS: ClassVar[list[BindingType]] = [
        # Also where a dialog is open.
        Binding("ctrl+q", "quit", "Quit", id="quit", show=False, priority=True),
        Binding("ctrl+p", "command_palette", "Palette", id="palette", show=False, priority=True),
    ]

    def __init__(
        self,
        store: Store,
        connection: Connection,
        params: SamplingParams | None = None,
        *,
        settings: Settings | None = None,
        settings_path: Path | None = None,
        complaints: Sequence[str] = (),
        log: Path | None = None,
    ) -> None:
        """``complaints`` are sentences about the settings file; without ``settings_path`` nothing is written to it.

        With a ``log``, a mistake in the app itself is noted there and told in a sentence, and the chat goes on; without
        one it ends the app, as tests want it.
        """
        super().__init__(ansi_color=True if has_no_color(os.environ) else None)
        self.stylesheet: KeptStylesheet = KeptStylesheet(self.theme_variables)
        self.settings = settings or Settings()
        self._settings_path = settings_path
        self._keeping = asyncio.Lock()
        self._broken: BaseException | None = None
        self._collector = Collector()
        self._complaints = complaints
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = first_theme(self.settings.theme, self.available_themes, os.environ)
        if not self.settings.animations:
            self.animation_level = "none"
        self._net = Net(log) if log is not None else None
        self.backend = Backend(connection)
        self.backend.spawn = partial(self.run_worker, group="backend", exclusive=True)
        self.chat = ChatScreen(store, self.backend, params or SamplingParams(), lambda: self.settings, self._set_theme)

    def get_driver_class(self) -> type[Driver]:
        """Textual's choice, but for what it would make of a paste."""
        driver = super().get_driver_class()
        guard(driver)
        return driver

    def get_css_variables(self) -> dict[str, str]:
        """Textual's, and ours."""
        self.theme_variables = self._variables_of(self.current_theme)
        return self.theme_variables

    def _variables_of(self, theme: Theme) -> dict[str, str]:
        system = theme.to_color_system().generate()
        return more_variables({**self.get_theme_variable_defaults(), **system, **theme.variables})

    def get_default_screen(self) -> Screen[Any]:
        """The chat itself: a blank screen under it would have to be styled and painted first."""
        return self.chat

    def on_mount(self) -> None:
        """Paint first; the model starts in a worker."""
        keymap, wrong = resolved(self.settings)
        self.set_keymap(keymap)
        self.backend.on_change = self.chat.backend_changed
        self.theme_changed_signal.subscribe(self, self._theme_changed)
        self.call_after_refresh(self._painted)
        unknown = theme_complaint(self.settings.theme, self.available_themes)
        for complaint in (*self._complaints, *filter(None, [unknown]), *wrong):
            self.notify(safe_line(complaint), severity="warning", timeout=15, markup=False)

    def _theme_changed(self, _: Theme) -> None:
        self.chat.backend_changed()  # pale() is another one
        self.run_worker(self._prepare_theme(), group="themes", exclusive=True)

    def _painted(self) -> None:
        """Do what the first frame need not wait for."""
        self.backend.start()
        self.set_timer(WARM_UP_SECONDS, self._warm_up)

    def _warm_up(self) -> None:
        self.run_worker(self._prepare(), group="warm-up")

    async def _prepare(self) -> None:
        try:
            for name in NEEDED_SOON:
                await asyncio.to_thread(import_module, name)
        finally:
            if not gc.isenabled():  # so `localqwen chat` starts
                self._collector.begin()
                self.set_interval(COLLECT_SECONDS, self._collect)
        await self._prepare_theme()

    async def _prepare_theme(self) -> None:
        """Have the next theme ready: its key is pressed again and again."""
        following = self.get_theme(next_theme(self.theme))
        if following is not None and not has_no_color(os.environ):
            await asyncio.sleep(PREPARE_SECONDS)
            for _ in self.stylesheet.prepare(self._variables_of(following)):
                await asyncio.sleep(BETWEEN_PIECES_SECONDS)

    def on_unmount(self) -> None:
        """Nothing of this app outlives it."""
        self._collector.end()

    def _collect(self) -> None:
        if self.backend.is_busy:
            self._collector.touched()
        self._collector.look()

    async def on_event(self, event: events.Event) -> None:
        """See :class:`App`."""
        if isinstance(event, events.InputEvent):
            self._collector.touched()
        # Here, before the key goes to a widget: then those behind it cannot overtake it.
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            self.chat.take_for_composer(event)
        await super().on_event(event)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """What the palette offers: every command of the table."""
        keymap, _ = resolved(self.settings)
        for command in COMMANDS:
            if command.in_palette:
                keys = key_label(keymap.get(command.id, command.keys))
                what = f"{command.help} ({keys})" if keys else command.help
                yield SystemCommand(command.title, what, partial(self._do, command.id))

    async def _do(self, command_id: str) -> None:
        await self.chat.command(command_id)

    def _set_theme(self, name: str) -> None:
        if not has_no_color(os.environ):  # without colours, what is shown is not what is chosen
            self.theme = name
        before, self.settings = self.settings, replace(self.settings, theme=name)
        self.run_worker(self._keep_theme(before, self.settings), group="settings")

    async def _keep_theme(self, before: Settings, after: Settings) -> None:
        try:
            await self._keep(before, after)
        except LocalqwenError as error:
            self.notify(safe_line(str(error)), severity="warning", timeout=8, markup=False)

    async def _keep(self, before: Settings, after: Settings) -> None:
        """Write what has been changed to the file, in the order in which that was done."""
        from localqwen.settings_file import save

        if self._settings_path is not None:
            async with self._keeping:
                await asyncio.to_thread(save, self._settings_path, before, after)

    def copy_to_clipboard(self, text: str) -> None:
        """Copy ``text`` less its controls, by the best way that there is, and say which one it was."""
        self._clipboard = without_controls(text)  # what Ctrl+V pastes here
        self.run_worker(self._copy(text), group="clipboard")

    async def _copy(self, text: str) -> None:
        from tui.clipboard import ClipboardError, copy

        try:
            way = await copy(self, text)
        except ClipboardError as error:
            self.notify(safe_line(str(error)), severity="warning", timeout=8, markup=False)
        else:
            self.notify(safe_line(f"Copied to {way}."), timeout=3, markup=False)

    async def action_settings(self) -> None:
        """Change the settings, in a dialog."""
        self.run_worker(self._change_settings(), group="dialogs")

    async def _change_settings(self) -> None:
        from tui.screens.settings import SettingsScreen

        screen = SettingsScreen(self.settings, self._settings_path, self._keep, self.backend.sampling)
        changed = await self.push_screen_wait(screen)
        if changed is not None:
            await self._follow(changed)

    async def _follow(self, changed: Settings) -> None:
        """Let settings count at once, as far as they can."""
        before, self.settings = self.settings, changed
        if changed.theme in self.available_themes and not has_no_color(os.environ):
            self.theme = changed.theme
        self.set_keymap(resolved(changed)[0])
        self.chat.desk.show_keys()
        if changed.animations != before.animations:
            self.animation_level = "full" if changed.animations else "none"
        if changed.plain and not before.plain:
            self.notify("The next start is a chat in lines.", markup=False)
        conversation = self.chat.desk.conversation
        if not conversation.path and conversation.system == before.system_prompt:
            await self.chat.desk.voice.trying(conversation.begin_with(changed.system_prompt))
            self.chat.desk.count_tokens()

    def run_sturdily(self) -> None:
        """Run, and go on after mistakes of our own."""
        let_go = keep_pumps_alive(self.caught)
        try:
            self.run()
        finally:
            let_go()

    def caught(self, error: Exception) -> bool:
        """Tell of a mistake, and whether the app goes on."""
        if self._net is None or not self.is_running or not self._net.holds():
            return False
        what = cause(error)
        trace = trace_of(what)
        threading.Thread(target=self._net.note, args=(trace,), daemon=True).start()
        sentence = (
            f"Something went wrong in localqwen itself ({type(what).__name__}). The conversation is kept; try again, "
            f"and if it comes back, report what is in {self._net.log}."
        )
        self.notify(safe_line(sentence), severity="error", timeout=20, markup=False)
        return True

    # Textual has no public hook for what fails in a worker, a timer or a callback: App._handle_exception() and
    # _fatal_error() are private, and the first always ends the app.
    def _handle_exception(self, error: Exception) -> None:
        if not self.caught(error):
            self._broken = cause(error)
            super()._handle_exception(error)

    def _fatal_error(self) -> None:
        """End with a traceback on the terminal. Textual's own shows variables, and so an API key."""
        broken = self._broken
        if broken is None:
            super()._fatal_error()
            return
        trace, where = trace_of(broken), ""
        if self._net is not None:
            self._net.note(trace)
            where = f" The traceback is in {self._net.log} too."
        sentence = f"localqwen: something went wrong in localqwen itself; the conversation is kept.{where}"
        self.panic(Text(f"{safe(trace)}\n{safe_line(sentence)}"))

    async def action_quit(self) -> None:
        """End without a loss; where something would be lost, a person has to want it twice."""
        from tui.screens.forget import QUITS, QUITS_ALL, ForgetScreen
        from tui.screens.form import Form

        for screen in reversed(self.screen_stack):
            if isinstance(screen, Form) and not screen.may_quit(label(self.settings, "quit")):
                return
        desk = self.chat.desk
        await desk.composer.catch_up()
        if desk.end_would_forget and not isinstance(self.screen, ForgetScreen):
            self.push_screen(ForgetScreen(QUITS_ALL if desk.store.is_temporary else QUITS), self._quit_if)
        else:
            await self._quit_if(True)

    async def _quit_if(self, certain: bool | None) -> None:
        # A draft that cannot be kept wants to be given up twice.
        if certain and await self.chat.shut_down():
            self.exit()
