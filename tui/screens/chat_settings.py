"""The open conversation's system prompt and sampling parameters, and presets of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Input, Label, Select, Static, TextArea

from localqwen.chats.preset_store import Preset
from localqwen.chats.store import ChatStoreError, Store
from localqwen.events import UNKNOWN_SAMPLING
from localqwen.params import SamplingParams
from localqwen.settings import check, sampling_options, typed
from tui.sanitize import SafeText, safe_line
from tui.screens.drafted import DraftedForm, Save
from tui.widgets.fields import LineField, TextField


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """What can be set for one conversation; what is ``None`` in ``params`` is the default."""

    system: str
    params: SamplingParams


def read_params(texts: Mapping[str, str], base: SamplingParams) -> tuple[SamplingParams, str | None]:
    """Parameters from what was typed, and a sentence about the first that cannot be used."""
    values: dict[str, Any] = {}
    for option in sampling_options():
        value = typed(option, texts[option.name].strip())
        if value is not None and (problem := check(option, value)) is not None:
            return base, f"{option.name.replace('_', ' ')} {problem}, or empty for the default."
        values[option.name] = value
    return replace(base, **values), None


class ChatSettingsScreen(DraftedForm[ChatSettings]):
    """A form; Ctrl+S takes it, Esc leaves everything as it was."""

    AUTO_FOCUS = ""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "accept", "Accept", id="dialog.accept", show=False, priority=True),
    ]

    def __init__(
        self,
        store: Store,
        settings: ChatSettings,
        defaults: SamplingParams,
        models: SamplingParams = UNKNOWN_SAMPLING,
        draft: str | None = None,
        save: Save | None = None,
    ) -> None:
        """``defaults`` are those of the settings and the command line; they show where nothing is set.

        Where they have nothing either, the ``models`` own numbers show, as far as they are known. ``draft`` and
        ``save`` are about the system prompt, see :class:`DraftedForm`.
        """
        super().__init__(draft, save)
        self._store = store
        self._settings = settings
        self._defaults = defaults
        self._models = models
        self._presets: list[Preset] = []
        self._filled: tuple[object, ...] | None = None
        self._asked: tuple[object, ...] | None = None

    def compose(self) -> ComposeResult:
        """The system prompt, the numbers, the presets."""
        with Vertical(classes="dialog wide"):
            yield Static("This conversation", classes="dialog-title")
            with VerticalScroll(id="chat-settings", can_focus=False):
                yield Label("System prompt: what the model is told before everything else")
                yield TextField(
                    self._settings.system,
                    id="system",
                    soft_wrap=True,
                    show_line_numbers=False,
                    tab_behavior="focus",
                    compact=True,
                )
                for option in sampling_options():
                    with Horizontal(classes="row"):
                        yield Label(safe_line(option.name.replace("_", " ")), classes="name")
                        default = getattr(self._defaults, option.name)
                        yield LineField(
                            shown(getattr(self._settings.params, option.name)),
                            placeholder=models_own(self._models, option.name) if default is None else shown(default),
                            id=f"param-{option.name}",
                            compact=True,
                        )
                        yield Label(safe_line(option.metadata["doc"]), classes="what", markup=False)
                with Horizontal(classes="row"):
                    yield Label("preset", classes="name")
                    yield Select([], prompt="take one", id="preset", compact=True)
                    yield LineField(placeholder="name for a new one", id="preset-name", compact=True)
                    yield Button("Keep", id="keep-preset", compact=True)
                    yield Button("Forget", id="forget-preset", compact=True)
            yield Static(self.hint, id="chat-settings-hint", classes="dialog-hint", markup=False)

    def on_mount(self) -> None:
        """List the presets, and begin in the first field with what is said above it in sight."""
        self._list_presets()
        self.query_one("#system").focus(scroll_visible=False)

    @property
    def hint(self) -> SafeText:
        """See :class:`DraftedForm`."""
        return safe_line(f"{self.key('dialog.accept')} takes it, {self.key('dialog.cancel')} cancels")

    def state(self) -> tuple[object, ...]:
        """See :class:`Form`."""
        return (self.query_one("#system", TextArea).text, *self._texts().values())

    def say(self, sentence: SafeText) -> None:
        """See :class:`Form`."""
        self.query_one("#chat-settings-hint", Static).update(sentence)

    def on_select_changed(self, event: Select.Changed) -> None:
        """Fill the form from a preset."""
        event.stop()
        preset = next((one for one in self._presets if one.id == event.value), None)
        if preset is None:
            return
        now = self.state()
        question = f"What is typed would be replaced: choose {preset.name} again to do that."
        if now not in (self._first, self._filled) and not self._is_certain(("take", preset.id, now), question):
            event.select.clear()
            return
        self.query_one("#system", TextArea).load_text(preset.system)
        for option in sampling_options():
            self.query_one(f"#param-{option.name}", Input).value = shown(getattr(preset.params, option.name))
        self.query_one("#preset-name", Input).value = safe_line(preset.name)
        self._filled = self.state()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Keep what is in the form under a name, or forget the chosen preset."""
        event.stop()
        try:
            if event.button.id == "forget-preset":
                self._forget()
            elif (found := self._read()) is not None:
                self._keep(" ".join(self.query_one("#preset-name", Input).value.split()), found)
        except ChatStoreError as error:
            self.say(safe_line(str(error)))

    def _forget(self) -> None:
        chosen = self.query_one("#preset", Select).value
        preset = next((one for one in self._presets if one.id == chosen), None)
        if preset is None:
            self.say(SafeText("Choose the preset that is to be forgotten first."))
        elif self._is_certain(("forget", preset.id), f"Forget {preset.name} for good? Press Forget again."):
            self._store.remove_preset(preset.id)
            self.say(safe_line(f"The preset {preset.name} is forgotten."))
            self._list_presets()

    def _keep(self, name: str, found: ChatSettings) -> None:
        old = next((one for one in self._store.presets() if one.name == name), None)
        if old is None:
            self._store.add_preset(name, found.system, found.params)
        elif self._is_certain(("keep", old.id, found), f"There is a preset {name}: press Keep again to change it."):
            self._store.change_preset(replace(old, system=found.system, params=found.params))
        else:
            return
        self.say(safe_line(f"The preset {name} is kept."))
        self._list_presets()
        self.is_kept()

    def _is_certain(self, what: tuple[object, ...], question: str) -> bool:
        """Whether the same was asked for just before; else ask."""
        if self._asked == what:
            self._asked = None
            return True
        self._asked = what
        self.say(safe_line(question))
        return False

    def action_accept(self) -> None:
        """Give what is in the form, if it can be read."""
        if (found := self._read()) is not None:
            self.dismiss(found)

    def _texts(self) -> dict[str, str]:
        return {option.name: self.query_one(f"#param-{option.name}", Input).value for option in sampling_options()}

    def _read(self) -> ChatSettings | None:
        params, problem = read_params(self._texts(), self._settings.params)
        if problem is not None:
            self.say(safe_line(problem))
            return None
        return ChatSettings(self.query_one("#system", TextField).kept, params)

    def _list_presets(self) -> None:
        try:
            self._presets = self._store.presets()
        except ChatStoreError as error:
            self.say(safe_line(str(error)))
        self.query_one("#preset", Select).set_options((Content(safe_line(one.name)), one.id) for one in self._presets)


def models_own(models: SamplingParams, name: str) -> SafeText:
    """What stands where nothing is set: the model's number, if it is known."""
    value = getattr(models, name)
    return SafeText("the model's own") if value is None else safe_line(f"{shown(value)}, the model's own")


def shown(value: object) -> SafeText:
    """A parameter as it is typed."""
    return safe_line("" if value is None else f"{value:g}" if isinstance(value, float) else str(value))
