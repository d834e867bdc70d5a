"""Which key does what: what the settings file wants, as far as there are such commands and such keys. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache

from textual.binding import Binding, BindingType
from textual.keys import KEY_TO_UNICODE_NAME, Keys, _character_to_key
from textual.widgets import TextArea

from localqwen.settings import Settings, parts
from tui.commands import COMMANDS, key_label
from tui.sanitize import SafeText
from tui.screens import FORM_KEYS, LINE_KEYS, READING_KEYS
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
TYPED_INTO = ("quit", "palette", "composer.", "find.", "dialog.")
# Where nothing is typed.
ONLY_READ = "dialog.close"


def split(keys: str) -> list[str]:
    """The keys of a list with commas."""
    return [key.strip() for key in keys.split(",") if key.strip()]


@dataclass(frozen=True, slots=True)
class Named:
    """What a key is for by default, beside the commands: its ``name`` is that of the settings file."""

    name: str
    keys: str
    label: str


def _of(bindings: Iterable[BindingType]) -> tuple[Named, ...]:
    return tuple(
        Named(one.id, one.key, one.description) for one in bindings if isinstance(one, Binding) and one.id is not None
    )


# The keys that are no commands', by where they are heard.
OWN_KEYS: dict[str, tuple[Named, ...]] = {
    "Writing": _of(ComposerKeys.BINDINGS),
    "In the conversation": tuple(Named(f"transcript.{name}", keys, label) for name, keys, _, label in NAVIGATION),
    "In the list of conversations": _of(Sidebar.BINDINGS),
    "While text is looked for": _of(FindBar.BINDINGS),
    "In dialogs": tuple(Named(*one) for one in (*FORM_KEYS, *LINE_KEYS, *READING_KEYS)),
}


def _keys(*names: Named) -> dict[str, str]:
    return {one.name: one.keys for one in names}


_COMMANDS = {command.id: command.keys for command in COMMANDS}
_ALWAYS = {name: _COMMANDS[name] for name in ("quit", "palette")}
_DIALOGS = _keys(*OWN_KEYS["In dialogs"])
# Where keys are heard: in each place, a key is meant for one name.
PLACES: tuple[dict[str, str], ...] = (
    _COMMANDS | _keys(*OWN_KEYS["Writing"]),
    _COMMANDS | _keys(*OWN_KEYS["In the conversation"]),
    _COMMANDS | _keys(*OWN_KEYS["In the list of conversations"]),
    # It is open by a person's wish, and says what its keys do.
    _ALWAYS | _keys(*OWN_KEYS["While text is looked for"]),
    _ALWAYS | {name: keys for name, keys in _DIALOGS.items() if name != ONLY_READ},
    # What has opened a dialog to read closes it as well.
    _ALWAYS
    | {name: _COMMANDS[name] for name in ("help", "plan")}
    | _keys(Named(*FORM_KEYS[1]), *OWN_KEYS["In dialogs"][-1:]),
)
DEFAULTS: dict[str, str] = {name: keys for place in PLACES for name, keys in place.items()}
# What edits the composer's text has its keys before any command; its own names may take them.
_EDITING = {key for one in TextArea.BINDINGS if isinstance(one, Binding) for key in split(one.key)}


@lru_cache(maxsize=4)
def resolved(settings: Settings) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """The keys that count, by name, and a sentence about each line of the settings that does not."""
    defaults = DEFAULTS | settings.sending
    said = {
        name: ",".join(as_reported(key) for one in split(keys) for key in _both(one)) for name, keys in settings.keys
    }
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
    modifiers, last = parts(key)
    return "+".join([*sorted(modifiers), _character_to_key(last) if len(last) == 1 else last])


def _both(key: str) -> tuple[str, ...]:
    """A capital letter as terminals report it: as itself, or with its modifier."""
    return (key, f"shift+{key.lower()}") if len(key) == 1 and key.isupper() else (key,)


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
            if name.startswith(TYPED_INTO) and name != ONLY_READ and _is_typed(key):
                yield name, f"{key_label(key)} is typed where that key is heard"
            if name in _COMMANDS and key in _EDITING:
                yield name, f"{key_label(key)} edits the text in the composer"
            others = {other for place in PLACES if name in place for other in place} - {name}
            for other in sorted(others):
                if key in split(said.get(other, defaults[other])):
                    yield name, f"{key_label(key)} is the key of {other} already"
