"""The open conversation's system prompt and sampling parameters, and presets of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Select, Static, TextArea

from localqwen.chats.preset_store import Preset
from localqwen.chats.store import ChatStoreError, Store
from localqwen.params import SamplingParams
from tui.sanitize import SafeText, safe, safe_line
from tui.widgets.fields import LineField, TextField

# Name, what it does, and how it is read.
FIELDS: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
    ("temperature", "0 always takes the likeliest token", float),
    ("top_p", "only the likeliest tokens that add up to it", float),
    ("top_k", "only so many of the likeliest tokens", int),
    ("min_p", "only tokens so likely, beside the likeliest", float),
    ("repetition_penalty", "above 1, what was said comes less often", float),
    ("frequency_penalty", "the same, growing with each time", float),
    ("presence_penalty", "the same, once", float),
    ("seed", "the same seed, the same answer", int),
    ("max_tokens", "the longest answer", int),
)


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """What can be set for one conversation; what is ``None`` in ``params`` is the default."""

    system: str
    params: SamplingParams


def read_params(texts: dict[str, str], base: SamplingParams) -> tuple[SamplingParams, str | None]:
    """Parameters from what was typed, and a sentence about the first that is no number."""
    values: dict[str, Any] = {}
    for name, _, kind in FIELDS:
        text = texts[name].strip()
        try:
            values[name] = kind(text) if text else None
        except ValueError:
            whole = "whole " if kind is int else ""
            return base, f"{name.replace('_', ' ')} must be a {whole}number, or empty for the default."
    return replace(base, **values), None


class ChatSettingsScreen(ModalScreen[ChatSettings | None]):
    """A form; Ctrl+S takes it, Esc leaves everything as it was."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel", show=False),
        Binding("ctrl+s", "accept", "Accept", id="chat_settings.accept", show=False, priority=True),
    ]

    def __init__(self, store: Store, settings: ChatSettings, defaults: SamplingParams) -> None:
        """``defaults`` are the settings file's; they show where nothing is set."""
        super().__init__()
        self._store = store
        self._settings = settings
        self._defaults = defaults
        self._presets: list[Preset] = []

    def compose(self) -> ComposeResult:
        """The system prompt, the numbers, the presets."""
        with Vertical(classes="dialog wide"):
            yield Static("This conversation", classes="dialog-title")
            with VerticalScroll(id="chat-settings"):
                yield Label("System prompt: what the model is told before everything else")
                yield TextField(
                    safe(self._settings.system), id="system", soft_wrap=True, show_line_numbers=False, compact=True
                )
                for name, what, _ in FIELDS:
                    with Horizontal(classes="row"):
                        yield Label(name.replace("_", " "), classes="name")
                        default = getattr(self._defaults, name)
                        yield LineField(
                            _shown(getattr(self._settings.params, name)),
                            placeholder="the model's own" if default is None else _shown(default),
                            id=f"param-{name}",
                            compact=True,
                        )
                        yield Label(what, classes="what")
                with Horizontal(classes="row"):
                    yield Label("preset", classes="name")
                    yield Select([], prompt="take one", id="preset", compact=True)
                    yield LineField(placeholder="name for a new one", id="preset-name", compact=True)
                    yield Button("Keep", id="keep-preset", compact=True)
                    yield Button("Forget", id="forget-preset", compact=True)
            yield Static("Ctrl+S takes it, Esc cancels", id="chat-settings-hint", classes="dialog-hint", markup=False)

    def on_mount(self) -> None:
        """List the presets."""
        self._list_presets()

    def on_select_changed(self, event: Select.Changed) -> None:
        """Fill the form from a preset."""
        event.stop()
        preset = next((one for one in self._presets if one.id == event.value), None)
        if preset is not None:
            self.query_one("#system", TextArea).load_text(safe(preset.system))
            for name, _, _ in FIELDS:
                self.query_one(f"#param-{name}", Input).value = _shown(getattr(preset.params, name))

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Keep what is in the form under a name, or forget the chosen preset."""
        event.stop()
        chosen = self.query_one("#preset", Select).value
        try:
            if event.button.id == "forget-preset":
                if isinstance(chosen, int):
                    self._store.remove_preset(chosen)
            elif (found := self._read()) is not None:
                self._store.add_preset(self.query_one("#preset-name", Input).value, found.system, found.params)
        except ChatStoreError as error:
            self._say(safe_line(str(error)))
        self._list_presets()

    def action_accept(self) -> None:
        """Give what is in the form, if it can be read."""
        if (found := self._read()) is not None:
            self.dismiss(found)

    def _read(self) -> ChatSettings | None:
        texts = {name: self.query_one(f"#param-{name}", Input).value for name, _, _ in FIELDS}
        params, problem = read_params(texts, self._settings.params)
        if problem is not None:
            self._say(safe_line(problem))
            return None
        return ChatSettings(self.query_one("#system", TextArea).text, params)

    def _list_presets(self) -> None:
        try:
            self._presets = self._store.presets()
        except ChatStoreError as error:
            self._say(safe_line(str(error)))
        self.query_one("#preset", Select).set_options((Content(safe_line(one.name)), one.id) for one in self._presets)

    def _say(self, sentence: SafeText) -> None:
        self.query_one("#chat-settings-hint", Static).update(sentence)


def _shown(value: object) -> SafeText:
    return safe_line("" if value is None else f"{value:g}" if isinstance(value, float) else str(value))
