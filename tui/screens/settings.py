"""Settings, with a look at the theme before it is kept."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import Field
from pathlib import Path
from typing import Any, ClassVar, cast

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widget import Widget
from textual.widgets import Input, Label, Select, Static, TextArea

from localqwen.errors import LocalqwenError
from localqwen.events import UNKNOWN_SAMPLING
from localqwen.params import SamplingParams
from localqwen.settings import Settings, Value, check, options, typed
from tui.sanitize import SafeText, safe_line
from tui.screens.chat_settings import models_own
from tui.screens.form import Form
from tui.theme import has_no_color, theme_names
from tui.widgets.fields import LineField, TextField, one_line

LONG_TEXTS = {"system_prompt"}
KEYS_DOC = 'They are changed in the file, under [keys], as "answer.stop" = "f9".'
TITLES = {"view": "View", "composer": "Composer", "chat": "New conversations", "sampling": "Sampling of answers"}


class SettingsScreen(Form[Settings]):
    """Every setting as a line. Dismissed with what was kept, or ``None``."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "keep", "Save", id="dialog.accept", show=False, priority=True),
    ]

    DEFAULT_CSS = """
    SettingsScreen {
        align: center middle;
        background: $background 60%;

        & > #settings {
            width: 100;
            max-width: 95%;
            height: 90%;
            padding: 1 2 0 2;
            background: $surface;
            border: round $primary 60%;
        }

        #settings-lines {
            height: 1fr;
        }

        #settings-head {
            text-style: bold;
        }

        .settings-title {
            text-style: bold;
            padding: 1 0 0 0;
        }

        .setting {
            height: auto;
            padding: 0 0 0 1;
        }

        .setting > Label {
            width: 24;
            max-width: 40%;
        }

        .setting > Vertical {
            height: auto;
        }

        .setting-doc {
            color: $text-muted;
            padding-bottom: 1;
        }

        TextArea {
            height: 5;
        }

        #settings-note {
            height: 3;
            padding-top: 1;
            color: $text-muted;
        }

        #settings-note.-wrong {
            color: $error;
            text-style: bold;
        }
    }
    """

    AUTO_FOCUS = "#setting-theme"

    def __init__(
        self,
        settings: Settings,
        path: Path | None = None,
        keep: Callable[[Settings, Settings], Awaitable[None]] | None = None,
        models: SamplingParams = UNKNOWN_SAMPLING,
    ) -> None:
        """``settings`` are the present ones; ``keep`` writes what differs between them and others to ``path``.

        It raises :class:`LocalqwenError`. Without it, they count until quit. ``models`` is the model's own sampling,
        as far as it is known.
        """
        super().__init__()
        self._settings = settings
        self._path = path
        self._keep = keep
        self._models = models
        self._theme_before = ""
        self._begun: dict[str, Value] = {}  # what the widgets hold before anybody touches them

    def compose(self) -> ComposeResult:
        """A widget for each setting, by table."""
        with Vertical(id="settings"):
            yield Static("Settings", id="settings-head")
            with VerticalScroll(id="settings-lines", can_focus=False):
                table = ""
                for option in options():
                    if option.metadata["table"] != table:
                        table = option.metadata["table"]
                        yield Static(safe_line(TITLES[table]), classes="settings-title")
                    with Horizontal(classes="setting"):
                        yield Label(safe_line(option.name.replace("_", " ")))
                        with Vertical():
                            yield self._editor(option)
                            yield Static(safe_line(option.metadata["doc"]), classes="setting-doc", markup=False)
                yield Static("Keys", classes="settings-title")
                yield Static(KEYS_DOC, classes="setting-doc", markup=False)
            keys = f"{self.key('dialog.accept')} saves, {self.key('dialog.cancel')} cancels"
            where = self._path if self._path is not None else "until you quit"
            keys = f"{keys} · {where}"
            yield Static(safe_line(keys), id="settings-note", markup=False)

    def on_mount(self) -> None:
        """Remember what the preview changes."""
        self._theme_before = self.app.theme
        self._begun = {option.name: value for option, value in self._values()}

    def _editor(self, option: Field[Any]) -> Widget:
        value = getattr(self._settings, option.name)
        name = f"setting-{option.name}"
        if option.name == "theme":
            names = theme_names(self.app.available_themes)
            # Another theme than the chosen one is shown where there is none of its name.
            shown = next(one for one in (value, self.app.theme, names[0]) if one in names)
            return Select([(one, one) for one in names], value=shown, allow_blank=False, id=name, compact=True)
        if option.metadata["choices"]:
            choices = [(one, one) for one in option.metadata["choices"]]
            return Select(choices, value=value, allow_blank=False, id=name, compact=True)
        if isinstance(option.default, bool):
            # A switch tells its state by colour alone.
            return Select([("yes", True), ("no", False)], value=value, allow_blank=False, id=name, compact=True)
        if option.name in LONG_TEXTS:
            return TextField(value, id=name, tab_behavior="focus", show_line_numbers=False, compact=True)
        text = "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
        placeholder = models_own(self._models, option.name) if option.default is None else ""
        return LineField(one_line(text), placeholder=placeholder, id=name, compact=True)

    def on_select_changed(self, event: Select.Changed) -> None:
        """Show a theme at once."""
        event.stop()
        is_theme = event.select.id == "setting-theme" and isinstance(event.value, str)
        if is_theme and event.value != self.app.theme and not has_no_color(os.environ):
            self.app.theme = str(event.value)

    def state(self) -> tuple[object, ...]:
        """See :class:`Form`; a choice is no text, and soon made again."""
        widgets = map(self._of, options())
        return tuple(
            widget.text if isinstance(widget, TextArea) else widget.value
            for widget in widgets
            if isinstance(widget, TextArea | Input)
        )

    def say(self, sentence: SafeText) -> None:
        """See :class:`Form`."""
        self._note(sentence, wrong=True)

    def give_up(self) -> None:
        """Leave all as it was."""
        self.app.theme = self._theme_before
        self.dismiss(None)

    def action_keep(self) -> None:
        """Keep what is chosen, unless something is wrong with it."""
        chosen: dict[str, Value] = {}
        for option, value in self._values():
            if value == self._begun[option.name]:
                # Not what is shown: that lacks what cannot be shown, digits of a number, a theme that is not there.
                chosen[option.name] = getattr(self._settings, option.name)
                continue
            problem = None if value is None and option.default is None else check(option, value)
            if problem is not None:
                self._note(f"{option.name.replace('_', ' ')} {problem}.", wrong=True)
                self.query_one(f"#setting-{option.name}").focus()
                return
            chosen[option.name] = value
        self._save(Settings(**cast("dict[str, Any]", chosen), keys=self._settings.keys))

    @work(exclusive=True, group="settings")
    async def _save(self, settings: Settings) -> None:
        try:
            if self._keep is not None:
                await self._keep(self._settings, settings)
        except LocalqwenError as error:
            self._note(str(error), wrong=True)
        else:
            self.dismiss(settings)

    def _note(self, text: str, *, wrong: bool) -> None:
        note = self.query_one("#settings-note", Static)
        note.set_class(wrong, "-wrong")
        note.update(safe_line(text))

    def _of(self, option: Field[Any]) -> Widget:
        return self.query_one(f"#setting-{option.name}")

    def _values(self) -> Iterator[tuple[Field[Any], Value]]:
        for option in options():
            widget = self._of(option)
            match widget:
                case Select():
                    yield option, cast("Value", widget.value)
                case TextField():
                    yield option, widget.kept
                case Input():
                    yield option, typed(option, widget.value.strip())
                case _:
                    raise AssertionError(option.name)
