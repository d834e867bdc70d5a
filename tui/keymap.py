"""Which key does what: what the settings file wants, as far as there are such commands and such keys. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache

from textual.binding import Binding, BindingType
from textual.keys import KEY_TO_UNICODE_NAME, Keys, _character_to_key
from textual.widgets import TextArea

from localqwen.settings import Settings
from tui.commands import COMMANDS, key_label
from tui.sanitize import SafeText
from tui.screens import DIALOG_KEYS
from tui.widgets.composer.keys import ComposerKeys
from tui.widgets.find_bar import FindBar
from tui.widgets.sidebar import Sidebar
from tui.widgets.transcript.keys import NAVIGATION

MODIFIERS = {"ctrl", "alt", "shift", "super", "hyper", "meta"}
_NAMED = {key.value.rpartition("+")[2] for key in Keys} | set(KEY_TO_UNICODE_NAME)
_SIGNS = {"slash", "backslash", "at", "minus", "plus", "underscore", "colon", "semicolon", "comma", "apostrophe"}
_SIGNS |= {"space", *KEY_TO_UNICODE_NAME}
_NAMED |= _SIGNS
# Commands whose keys are heard before, or by, what is typed into.
TYPED_INTO = ("quit", "composer.", "find.", "dialog.")
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
    defaults = DEFAULTS | settings.sending
    said = {name: ",".join(map(as_reported, split(keys))) for name, keys in settings.keys}
    complaints: list[str] = []

    def refuse(name: str, why: str) -> None:
        del said[name]
        line = f'[keys] "{name}" = "{dict(settings.keys)[name]}"'
        complaints.append(f"{line}: {why}; {'its default counts' if name in DEFAULTS else 'the line does nothing'}.")

    for name in list(said):
        if name not in DEFAULTS:
            near = get_close_matches(name, DEFAULTS, 1)
            refuse(name, "there is no such command" + (f" (did you mean {near[0]}?)" if near else ""))
        elif wrong := next((key for key in split(said[name]) if not is_key(key)), None):
            near = get_close_matches(wrong, _examples(), 1)
            refuse(name, f"there is no key {wrong}" + (f" (did you mean {near[0]}?)" if near else ""))
    # A refused line gives its default back, which another line may have taken: so again, until nothing is left.
    while clash := next(_clashes(said, defaults), None):
        refuse(*clash)
    return settings.sending | said, tuple(complaints)


def label(settings: Settings, name: str) -> SafeText:
    """The first key of a name as a person reads it."""
    keys = split(resolved(settings)[0].get(name, DEFAULTS[name]))
    return key_label(keys[0]) if keys else SafeText("")


def as_reported(key: str) -> str:
    """A key as Textual names it: modifiers in the order of the alphabet, signs by their names."""
    *modifiers, last = key.split("+")
    return "+".join([*sorted(modifiers), _character_to_key(last) if len(last) == 1 else last])


def is_key(key: str) -> bool:
    """Whether Textual could ever report such a key."""
    *modifiers, last = key.split("+")
    return MODIFIERS.issuperset(modifiers) and (len(last) == 1 or last in _NAMED)


def _examples() -> list[str]:
    plain = ["enter", "escape", "tab", "space", "backspace", "delete", "insert", "home", "end", "pageup", "pagedown"]
    plain += ["up", "down", "left", "right", *(f"f{number}" for number in range(1, 25)), *"abcdefghijklmnopqrstuvwxyz"]
    return plain + [f"{modifier}+{key}" for modifier in ("ctrl", "alt", "shift") for key in plain]


def _is_typed(key: str) -> bool:
    *modifiers, last = key.split("+")
    return {"shift"}.issuperset(modifiers) and (len(last) == 1 or last in _SIGNS)


def _clashes(said: Mapping[str, str], defaults: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Names whose wanted keys are somebody else's already, the last line first."""
    for name in reversed(list(said)):
        for key in split(said[name]):
            if key in split(defaults[name]):
                continue
            if name.startswith(TYPED_INTO) and _is_typed(key):
                yield name, f"{key_label(key)} is typed where that key is heard"
            if key == PALETTE:
                yield name, f"{key_label(key)} opens the palette"
            if name in _COMMANDS and key in _EDITING:
                yield name, f"{key_label(key)} edits the text in the composer"
            others = {other for place in PLACES if name in place for other in place} - {name}
            for other in sorted(others):
                if key in split(said.get(other, defaults[other])):
                    yield name, f"{key_label(key)} is the key of {other} already"
