"""Commands that are about the model, the machine and the app."""

from __future__ import annotations

import os
from collections.abc import Mapping

from tui.desk import Desk
from tui.handlers import Handler
from tui.keymap import resolved
from tui.sanitize import SafeText, safe_line
from tui.theme import has_no_color, next_theme


class MachineCommands:
    """The model, the plan, the settings, the theme, the help."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By command id."""
        return {
            "model.choose": self.choose,
            "model.cancel": self.cancel,
            "plan": self.plan,
            "view.sidebar": self.sidebar,
            "view.theme": self.theme,
            "help": self.help,
        }

    async def choose(self, _: str) -> None:
        """Another model for the open conversation."""
        from tui.model_source import name_among_them, source_for
        from tui.screens.models import ModelsScreen

        desk = self._desk
        source = source_for(desk.backend.connection, desk.backend.planned)
        current = name_among_them(desk.backend.connection, desk.backend.model)
        row = await desk.screen.app.push_screen_wait(ModelsScreen(source, current))
        if row is not None:
            desk.backend.switch(source.connection(row))
            desk.count_tokens()
        desk.composer.focus()

    def cancel(self, _: str) -> None:
        """Stop loading."""
        if not self._desk.backend.cancel():
            self._desk.voice.say(SafeText("Nothing is being loaded."))

    def plan(self, _: str) -> None:
        """Where the model lies."""
        from tui.screens.plan import PlanScreen

        self._desk.screen.app.push_screen(PlanScreen(self._desk.backend))

    def sidebar(self, _: str) -> None:
        """Show or hide the list of conversations."""
        sidebar = self._desk.sidebar
        sidebar.is_shown = not sidebar.is_shown
        if not sidebar.is_shown:
            self._desk.composer.focus()

    def theme(self, name: str) -> None:
        """The next of our own themes, or one by its name."""
        desk, app = self._desk, self._desk.screen.app
        if name:
            if name not in app.available_themes:
                desk.voice.say(safe_line(f"There is no theme {name}: /settings lists them."))
                return
            desk.set_theme(name)
            if has_no_color(os.environ):
                desk.voice.say(safe_line(f"{name} counts where NO_COLOR is not set; here it is."))
        elif has_no_color(os.environ):
            desk.voice.say(SafeText("NO_COLOR is set, so there are no themes to see: /theme NAME chooses one unseen."))
        else:
            desk.set_theme(next_theme(app.theme))

    def help(self, _: str) -> None:
        """Commands and keys."""
        from tui.screens.help import HelpScreen

        self._desk.screen.app.push_screen(HelpScreen(resolved(self._desk.settings())[0]))
