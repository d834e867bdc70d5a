"""The chat's settings: what there is to set, and what a settings file says. Reads TOML; writes nothing.

A bad line never stops the chat: its default counts, and one sentence says which file, line and key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias

from localqwen.params import SamplingParams

Value: TypeAlias = "bool | int | float | str | None"

KEYS = "keys"
# In terminals without the Kitty protocol these are Enter, Tab, Backspace and Esc.
AMBIGUOUS_KEYS = {"ctrl+m", "ctrl+i", "ctrl+h", "ctrl+left_square_bracket", "ctrl+["}
# A name, or a sign as it is typed; a comma stands between keys, so that key is called "comma".
_KEY_NAME = re.compile(r"((?:[a-z]+\+)*)([a-z0-9_]+|[^\s,])", re.IGNORECASE)


# What ``send`` means for the composer's keys.
_SENDING: dict[str, dict[str, str]] = {
    "enter": {},
    "alt+enter": {"composer.send": "alt+enter", "composer.newline": "enter,shift+enter,ctrl+j"},
}


def _setting(
    table: str,
    default: Value,
    doc: str,
    *,
    choices: tuple[str, ...] = (),
    low: float | None = None,
    high: float | None = None,
) -> Any:
    about = {"table": table, "doc": doc, "choices": choices, "low": low, "high": high}
    return field(default=default, metadata=about)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a person has chosen. Each field's ``metadata`` has the TOML table that it is in, and what it means."""

    theme: str = _setting("view", "localqwen-dark", "Colours: any theme that the settings screen lists.")
    sidebar: bool = _setting("view", True, "Show the list of conversations at the start, where the terminal is wide.")
    animations: bool = _setting("view", True, "Scroll and open smoothly.")
    plain: bool = _setting("view", False, "Lines of text instead of a full screen, as with --plain.")
    send: Literal["enter", "alt+enter"] = _setting(
        "composer",
        "enter",
        "The key that sends; with alt+enter, Enter breaks the line.",
        choices=("enter", "alt+enter"),
    )
    editor: str = _setting("composer", "", "The command of your text editor; empty takes $VISUAL or $EDITOR.")
    system_prompt: str = _setting("chat", "", "What the model is told before a new conversation.")
    temperature: float | None = _setting(
        "sampling", None, "0 always takes the likeliest token, 2 is wild.", low=0.0, high=2.0
    )
    top_p: float | None = _setting(
        "sampling", None, "Only the likeliest tokens that add up to it.", low=0.001, high=1.0
    )
    top_k: int | None = _setting("sampling", None, "Only so many of the likeliest tokens; 0 is all.", low=0)
    min_p: float | None = _setting("sampling", None, "Only tokens so likely, beside the likeliest.", low=0.0, high=1.0)
    repetition_penalty: float | None = _setting(
        "sampling", None, "Above 1, what was said comes less often.", low=0.01, high=10.0
    )
    frequency_penalty: float | None = _setting(
        "sampling", None, "The same, growing with each time.", low=-2.0, high=2.0
    )
    presence_penalty: float | None = _setting("sampling", None, "The same, once.", low=-2.0, high=2.0)
    seed: int | None = _setting("sampling", None, "The same seed gives the same answer.")
    max_tokens: int | None = _setting("sampling", None, "The longest answer, in tokens.", low=1)
    keys: tuple[tuple[str, str], ...] = field(
        default=(), metadata={"table": KEYS, "doc": 'Other keys for commands, as "answer.stop" = "f9"; F1 lists both.'}
    )

    @property
    def sampling(self) -> SamplingParams:
        """The defaults of answers; ``None`` is the model's own."""
        return SamplingParams(**{option.name: getattr(self, option.name) for option in sampling_options()})

    @property
    def sending(self) -> dict[str, str]:
        """The composer's keys, where ``send`` makes them others than the usual ones, by command."""
        return _SENDING[self.send]


def options() -> list[Field[Any]]:
    """Every single setting in the order of the file; the table of keys is none."""
    return [one for one in fields(Settings) if one.name != KEYS]


def sampling_options() -> list[Field[Any]]:
    """Those that each conversation can have for itself, too; they are named as in :class:`SamplingParams`."""
    return [one for one in options() if one.metadata["table"] == "sampling"]


def typed(option: Field[Any], text: str) -> Value:
    """What was typed, as the setting's kind; left as text where it is none, which :func:`check` then says."""
    kind = str(option.type)
    if option.default is None and not text:
        return None
    try:
        if kind.startswith("int"):
            return int(text)
        if kind.startswith("float"):
            return float(text)
    except ValueError:
        pass
    return text


def read(path: Path) -> tuple[Settings, list[str]]:
    """What a file says, and a sentence for each thing in it that cannot be used. No file is no complaint."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Settings(), []
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        return Settings(), [f"{path} cannot be read ({reason}): the defaults count."]
    return parse(text, str(path))


def parse(text: str, name: str) -> tuple[Settings, list[str]]:
    """As :func:`read`, of the text of the file that is called ``name``. Pure."""
    import tomllib  # most people have no settings file

    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return Settings(), [f"{name} is no TOML ({error}): the defaults count until that is mended."]
    known = {(option.metadata["table"], option.name): option for option in options()}
    tables = {table for table, _ in known} | {KEYS}
    values: dict[str, Any] = {}
    complaints = []
    for table, content in data.items():
        if table not in tables or not isinstance(content, Mapping):
            complaints.append(f"{_place(text, name, table, None)}: there is no table [{table}]{_like(table, tables)}.")
            continue
        if table == KEYS:
            values[KEYS], wrong = _keys(content)
        else:
            wrong = {}
            for key, value in content.items():
                option = known.get((table, key))
                if option is None:
                    similar = _like(key, {other for place, other in known if place == table})
                    wrong[key] = f"there is no such setting in [{table}]{similar}"
                elif (problem := check(option, value)) is None:
                    values[key] = float(value) if _is_float(option) else value
                else:
                    wrong[key] = f"{key} {problem}, not {_shown(value)}; its default counts"
        complaints += [f"{_place(text, name, table, key)}: {problem}." for key, problem in wrong.items()]
    return Settings(**values), complaints


def check(option: Field[Any], value: object) -> str | None:
    """What is wrong with a value, as ``must be ...``; ``None`` if nothing is."""
    about = option.metadata
    low, high = about["low"], about["high"]
    kind = str(option.type)
    if kind.startswith("bool"):
        return None if isinstance(value, bool) else "must be true or false"
    if kind.startswith(("int", "float")):
        whole = kind.startswith("int")
        right = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if right and (low is None or value >= low) and (high is None or value <= high):
            return None
        limits = f" from {low:g}" if low is not None else ""
        limits += f" to {high:g}" if high is not None else ""
        return f"must be a {'whole ' if whole else ''}number{limits}"
    if not isinstance(value, str):
        return "must be text in quotes"
    if about["choices"] and value not in about["choices"]:
        return f"must be {' or '.join(map(repr, about['choices']))}"
    return None


def _is_float(option: Field[Any]) -> bool:
    return str(option.type).startswith("float")


def _keys(content: Mapping[str, object]) -> tuple[tuple[tuple[str, str], ...], dict[str, str]]:
    keys, wrong = [], {}
    for command, value in _flat(content):
        pressed = [_key(key.strip()) for key in value.split(",")] if isinstance(value, str) else [""]
        if not all(pressed):
            wrong[command] = f'{command} must be a key such as "f9" or "ctrl+x", or several with commas between'
        elif forbidden := AMBIGUOUS_KEYS.intersection(pressed):
            wrong[command] = f"{sorted(forbidden)[0]} is the same as Enter, Tab, Backspace or Esc in many terminals"
        else:
            keys.append((command, ",".join(pressed)))
    return tuple(keys), wrong


def _key(written: str) -> str:
    """A key in lower case, but for a capital letter alone, which is another key; ``""`` where there is none."""
    if not written.isprintable() or _KEY_NAME.fullmatch(written) is None:
        return ""
    return written if len(written) == 1 else written.lower()


def parts(key: str) -> tuple[list[str], str]:
    """A key's modifiers, and the key that they modify, which may be ``+`` itself."""
    *modifiers, last = key.removesuffix("+").split("+") if key.endswith("++") or key == "+" else key.split("+")
    return (modifiers, last) if last else (modifiers, "+")


def _flat(content: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """``answer.stop = "f9"`` without quotes around the name is a table in a table to TOML."""
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{rest}", inner) for rest, inner in _flat(value))
        else:
            yield name, value


def _like(word: str, others: set[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word, sorted(others), 1)
    return f" (did you mean {near[0]}?)" if near else ""


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _place(text: str, name: str, table: str, key: str | None) -> str:
    """``file, line 3``, as far as a look at the lines finds it; tomllib does not tell."""
    within = None
    for number, line in enumerate(text.splitlines(), 1):
        if head := re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line):
            within = head[1].strip("\"'")
            if key is None and within == table:
                return f"{name}, line {number}"
        elif (found := re.match(r"""\s*(?:"([^"]*)"|'([^']*)'|([\w-]+))\s*[.=]""", line)) is not None:
            word = found[1] or found[2] or found[3]
            if (within, word) == (table, key) or (within is None and word == table):
                return f"{name}, line {number}"
    return name
