"""Writes the settings file: commented, and with everything that a person wrote into it left as it is."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from dataclasses import Field
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Table

from localqwen.errors import LocalqwenError
from localqwen.settings import KEYS, Settings, check, options, parse

HEAD = "The settings of `localqwen chat`. What begins with # is a comment or a default; take the # away to change it."
WIDTH = 100


class SettingsError(LocalqwenError):
    """The settings cannot be kept."""


def save(path: Path, settings: Settings) -> None:
    """Make the file say ``settings``; it appears whole or not at all.

    Raises :class:`SettingsError` when what is there is no TOML, which is not overwritten, or cannot be written.
    """
    try:
        old = path.read_text(encoding="utf-8") if path.exists() else None
        _replace(path, fresh(settings) if old is None else updated(old, settings))
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is no TOML ({error}), so nothing was written: mend or remove it.") from error
    except OSError as error:
        raise SettingsError(f"{path} cannot be written ({error.strerror or error}): check the folder.") from error


def fresh(settings: Settings) -> str:
    """A whole file, in which every setting is explained. Pure."""
    lines = [f"# {HEAD}"]
    table = ""
    for option in options():
        if option.metadata["table"] != table:
            table = option.metadata["table"]
            lines += ["", f"[{table}]"]
        lines += [f"# {line}" for line in _explained(option)]
        value = getattr(settings, option.name)
        if value == option.default:
            shown = "" if value is None else _toml(value)
            lines.append(f"# {option.name} = {shown}".rstrip())
        else:
            lines.append(f"{option.name} = {_toml(value)}")
    (keys,) = (one for one in Settings.__dataclass_fields__.values() if one.name == KEYS)
    lines += ["", f"[{KEYS}]", f"# {keys.metadata['doc']}"]
    lines += [f"{_toml(command)} = {_toml(key)}" for command, key in settings.keys]
    return "\n".join(lines) + "\n"


def updated(text: str, settings: Settings) -> str:
    """A file's text with other values and the same comments, order and unknown parts. Pure."""
    document = tomlkit.parse(text)
    old, _ = parse(text, "")
    for option in options():
        value = getattr(settings, option.name)
        table = document.get(option.metadata["table"])
        if isinstance(table, Table) and option.name in table:
            if value is None:
                table.remove(option.name)
            elif getattr(old, option.name) != value or check(option, table[option.name]) is not None:
                table[option.name] = value
        elif value != option.default:
            _table(document, option.metadata["table"]).add(option.name, value)
    if dict(settings.keys) != dict(old.keys):
        keys, wanted = _table(document, KEYS), dict(settings.keys)
        for command in [command for command in keys if command not in wanted]:
            keys.remove(command)
        for command, key in settings.keys:
            keys[command] = key
    return tomlkit.dumps(document)


def _table(document: tomlkit.TOMLDocument, name: str) -> Table:
    table = document.get(name)
    if not isinstance(table, Table):
        table = tomlkit.table()
        document[name] = table
    return table


def _explained(option: Field[Any]) -> list[str]:
    about = option.metadata
    text = str(about["doc"])
    if about["choices"]:
        text += f" One of: {', '.join(about['choices'])}."
    if option.default is None:
        text += " Left out, the model's own default counts."
    return [text]


def _toml(value: object) -> str:
    return tomlkit.item(value).as_string()


def _replace(path: Path, text: str) -> None:
    path = path.resolve()  # a link into somebody's dotfiles stays one
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
