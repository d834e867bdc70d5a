"""The app: themes, settings, the chat screen, and the connection to a model."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.screen import Screen

from localqwen.chats.store import Store
from localqwen.errors import LocalqwenError
from localqwen.params import SamplingParams
from localqwen.settings import Settings
from tui.backend import Backend, Connection
from tui.commands import COMMANDS, key_label
from tui.pastes import guard
from tui.sanitize import safe_line, without_controls
from tui.screens.chat import ChatScreen
from tui.theme import THEMES, first_theme, has_no_color

# What shows answers takes some frames' time to import: it comes beside the event loop, before the first answer does.
ANSWERS = "tui.widgets.transcript.answer"
WARM_UP_SECONDS = 0.3


class ChatApp(App[None]):
    """A chat with one model at a time."""

    TITLE = "localqwen"
    CSS_PATH = "localqwen.tcss"
    COMMAND_PALETTE_BINDING = "ctrl+p"
    BINDINGS: ClassVar[list[BindingType]] = [
        # Also where a dialog is open.
        Binding("ctrl+q", "quit", "Quit", id="quit", show=False, priority=True),
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
    ) -> None:
        """``complaints`` are sentences about the settings file; without ``settings_path`` nothing is written to it."""
        super().__init__(ansi_color=True if has_no_color(os.environ) else None)
        self.settings = settings or Settings()
        self._settings_path = settings_path
        self._complaints = complaints
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = first_theme(self.settings.theme, self.available_themes, os.environ)
        if not self.settings.animations:
            self.animation_level = "none"
        self.backend = Backend(connection)
        self.backend.spawn = partial(self.run_worker, group="backend", exclusive=True)
        self.chat = ChatScreen(store, self.backend, params or SamplingParams(), lambda: self.settings, self._set_theme)

    def get_driver_class(self) -> type[Driver]:
        """Textual's choice, but for what it would make of a paste."""
        driver = super().get_driver_class()
        guard(driver)
        return driver

    def get_default_screen(self) -> Screen[Any]:
        """The chat itself: a blank screen under it would have to be styled and painted first."""
        return self.chat

    def on_mount(self) -> None:
        """Paint first; the model starts in a worker."""
        self.set_keymap(self.settings.keymap)
        self.backend.on_change = self.chat.backend_changed
        self.call_after_refresh(self._painted)
        for complaint in self._complaints:
            self.notify(safe_line(complaint), severity="warning", timeout=15, markup=False)

    def _painted(self) -> None:
        """Do what the first frame need not wait for."""
        if not gc.isenabled():
            # So `localqwen chat` starts: what is there by now stays, and a collection would look at all of it.
            gc.freeze()
            gc.enable()
        self.backend.start()
        self.set_timer(WARM_UP_SECONDS, self._warm_up)

    def _warm_up(self) -> None:
        self.run_worker(partial(import_module, ANSWERS), thread=True, group="warm-up")

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """What the palette (Ctrl+P) offers: every command of the table."""
        keymap = self.settings.keymap
        for command in COMMANDS:
            if command.in_palette:
                keys = key_label(keymap.get(command.id, command.keys))
                what = f"{command.help} ({keys})" if keys else command.help
                yield SystemCommand(command.title, what, partial(self._do, command.id))

    async def _do(self, command_id: str) -> None:
        await self.chat.action_command(command_id)

    def _set_theme(self, name: str) -> None:
        self.theme = name
        self.settings = replace(self.settings, theme=name)
        if self._settings_path is not None:
            self.run_worker(partial(self._keep, self.settings, self._settings_path), thread=True, group="settings")

    def _keep(self, settings: Settings, path: Path) -> None:
        from localqwen.settings_file import save

        try:
            save(path, settings)
        except LocalqwenError as error:
            self.call_from_thread(self.notify, safe_line(str(error)), severity="warning", timeout=8, markup=False)

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
            self.notify(f"Copied to {way}.", timeout=3, markup=False)

    async def action_settings(self) -> None:
        """Change the settings, in a dialog."""
        self.run_worker(self._change_settings(), group="dialogs")

    async def _change_settings(self) -> None:
        from tui.screens.settings import SettingsScreen

        changed = await self.push_screen_wait(SettingsScreen(self.settings, self._settings_path))
        if changed is not None:
            self.settings = changed
            self.theme = changed.theme if changed.theme in self.available_themes else self.theme
            self.set_keymap(changed.keymap)

    async def action_quit(self) -> None:
        """End without a question and without a loss; a draft that cannot be kept wants to be given up twice."""
        if await self.chat.shut_down():
            self.exit()
