"""Which key does what: what the settings file wants, as far as there are such commands and such keys. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache

from textual.binding import Binding, BindingType
from textual.keys import KEY_TO_UNICODE_NAME, Keys
from textual.widgets import TextArea

from localqwen.settings import Settings
from tui.commands import COMMANDS, key_label
from tui.screens import DIALOG_KEYS
from tui.widgets.composer.keys import ComposerKeys
from tui.widgets.find_bar import FindBar
from tui.widgets.sidebar import Sidebar
from tui.widgets.transcript.keys import NAVIGATION

MODIFIERS = {"ctrl", "alt", "shift", "super", "hyper", "meta"}
_NAMED = {key.value.rpartition("+")[2] for key in Keys} | set(KEY_TO_UNICODE_NAME)
_NAMED |= {"slash", "backslash", "at", "minus", "plus", "underscore", "colon", "semicolon", "comma", "apostrophe"}
PALETTE = "ctrl+p"


def split(keys: str) -> list[str]:
    """The keys of a list with commas."""
    return [key.strip() for key in keys.split(",") if key.strip()]


def _of(bindings: Iterable[BindingType]) -> dict[str, str]:
    return {one.id: one.key for one in bindings if isinstance(one, Binding) and one.id is not None}


_COMMANDS = {command.id: command.keys for command in COMMANDS}
# Where keys are heard: in each place, a key is meant for one name.
PLACES: tuple[dict[str, str], ...] = (
    _COMMANDS | _of(ComposerKeys.BINDINGS),
    _COMMANDS | {f"transcript.{name}": keys for name, keys, _, _ in NAVIGATION},
    _COMMANDS | _of(Sidebar.BINDINGS),
    # It is open by a person's wish, and says what its keys do.
    {"quit": _COMMANDS["quit"], **_of(FindBar.BINDINGS)},
    {"quit": _COMMANDS["quit"], **DIALOG_KEYS},
)
DEFAULTS: dict[str, str] = {name: keys for place in PLACES for name, keys in place.items()}
# What edits the composer's text has its keys before any command; its own names may take them.
_EDITING = {key for one in TextArea.BINDINGS if isinstance(one, Binding) for key in split(one.key)}


@lru_cache(maxsize=4)
def resolved(settings: Settings) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """The keys that count, by name, and a sentence about each line of the settings that does not."""
    said = settings.keymap
    complaints: list[str] = []

    def refuse(name: str, why: str) -> None:
        line = f'[keys] "{name}" = "{said.pop(name)}"'
        complaints.append(f"{line}: {why}; {'its default counts' if name in DEFAULTS else 'the line does nothing'}.")

    for name in list(said):
        if name not in DEFAULTS:
            near = get_close_matches(name, DEFAULTS, 1)
            refuse(name, "there is no such command" + (f" (did you mean {near[0]}?)" if near else ""))
        elif wrong := next((key for key in split(said[name]) if not is_key(key)), None):
            near = get_close_matches(wrong, _examples(), 1)
            refuse(name, f"there is no key {wrong}" + (f" (did you mean {near[0]}?)" if near else ""))
    # A refused line gives its default back, which another line may have taken: so again, until nothing is left.
    while clash := next(_clashes(said), None):
        refuse(*clash)
    return said, tuple(complaints)


def label(settings: Settings, name: str) -> str:
    """The first key of a name as a person reads it."""
    keys = split(resolved(settings)[0].get(name, DEFAULTS[name]))
    return key_label(keys[0]) if keys else ""


def is_key(key: str) -> bool:
    """Whether Textual could ever report such a key."""
    *modifiers, last = key.split("+")
    return MODIFIERS.issuperset(modifiers) and (len(last) == 1 or last in _NAMED)


def _examples() -> list[str]:
    plain = ["enter", "escape", "tab", "space", "backspace", "delete", "insert", "home", "end", "pageup", "pagedown"]
    plain += ["up", "down", "left", "right", *(f"f{number}" for number in range(1, 25)), *"abcdefghijklmnopqrstuvwxyz"]
    return plain + [f"{modifier}+{key}" for modifier in ("ctrl", "alt", "shift") for key in plain]


def _clashes(said: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Names whose wanted keys are somebody else's already, the last line first."""
    for name in reversed(list(said)):
        for key in split(said[name]):
            if key in split(DEFAULTS[name]):
                continue
            if key == PALETTE:
                yield name, f"{key_label(key)} opens the palette"
            if name in _COMMANDS and key in _EDITING:
                yield name, f"{key_label(key)} edits the text in the composer"
            for place in PLACES:
                if name not in place:
                    continue
                for other, keys in place.items():
                    if other != name and key in split(said.get(other, keys)):
                        yield name, f"{key_label(key)} is the key of {other} already"
