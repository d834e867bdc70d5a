"""Writes the settings file: commented, and with everything that a person wrote into it left as it is."""

from __future__ import annotations

import os
import tempfile
from collections.abc import MutableMapping
from contextlib import suppress
from dataclasses import Field
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Comment, Table, Whitespace

from localqwen.errors import LocalqwenError
from localqwen.settings import KEYS, Settings, Value, options

HEAD = "The settings of `localqwen chat`. What begins with # is a comment or a default; take the # away to change it."
WIDTH = 100


class SettingsError(LocalqwenError):
    """The settings cannot be kept."""


def save(path: Path, before: Settings, after: Settings) -> None:
    """Write into the file what differs between ``before`` and ``after``; it appears whole or not at all.

    All else stays as the file has it, also where that is not what ``before`` says: another window or an editor may have
    written it meanwhile, and what a person has mistyped is theirs to mend.

    Raises :class:`SettingsError` when what is there is no TOML, which is not overwritten, or cannot be written.
    """
    try:
        old = path.read_text(encoding="utf-8") if path.exists() else fresh()
        _replace(path, updated(old, before, after))
    except _NoTableError as error:
        raise SettingsError(
            f"{path}: {error.args[0]} is no table, so nothing was written: mend or remove it."
        ) from error
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is no TOML ({error}), so nothing was written: mend or remove it.") from error
    except OSError as error:
        raise SettingsError(f"{path} cannot be written ({error.strerror or error}): check the folder.") from error


def fresh() -> str:
    """A whole file, in which every setting is explained and none is made. Pure."""
    lines = [f"# {HEAD}"]
    table = ""
    for option in options():
        if option.metadata["table"] != table:
            table = option.metadata["table"]
            lines += ["", f"[{table}]"]
        lines += [f"# {line}" for line in _explained(option)]
        shown = "" if option.default is None else _toml(option.default)
        lines.append(f"# {option.name} = {shown}".rstrip())
    (keys,) = (one for one in Settings.__dataclass_fields__.values() if one.name == KEYS)
    lines += ["", f"[{KEYS}]", f"# {keys.metadata['doc']}"]
    return "\n".join(lines) + "\n"


def updated(text: str, before: Settings, after: Settings) -> str:
    """A file's text with what differs between the settings; its comments, order and unknown parts stay. Pure."""
    for option in options():
        value = getattr(after, option.name)
        if value != getattr(before, option.name):
            text = _with(text, option, value)
    old, new = dict(before.keys), dict(after.keys)
    if old != new:
        document = tomlkit.parse(text)
        keys = _table(document, KEYS)
        for command in old.keys() - new.keys():
            _forget(keys, command)
        for command, key in new.items():
            if old.get(command) != key:
                _forget(keys, command)
                keys[command] = key
        text = tomlkit.dumps(document)
    return text


def _with(text: str, option: Field[Any], value: Value) -> str:
    """A file's text with one setting changed: in its place if it has one, or in that of its commented default."""
    document = tomlkit.parse(text)
    table = _table(document, option.metadata["table"])
    body = table.value.body if isinstance(table, Table) else []
    at = next((at for at, (key, _) in enumerate(body) if key is not None and key.key == option.name), None)
    if option.name in table and value is not None:
        table[option.name] = value
    elif option.name in table:
        del table[option.name]
        if at and _said(body[at - 1][1]) == _explained(option)[-1]:
            body[at] = (None, tomlkit.comment(f"{option.name} ="))
    elif value is not None:
        default = next((at for at, (_, item) in enumerate(body) if _is_default(item, option.name)), None)
        if default is not None:
            body[default] = (tomlkit.key(option.name), tomlkit.item(value))
        elif isinstance(table, Table):
            end = next((at for at in range(len(body), 0, -1) if not isinstance(body[at - 1][1], Whitespace)), 0)
            body[end:end] = [
                *((None, tomlkit.comment(line)) for line in _explained(option)),
                (tomlkit.key(option.name), tomlkit.item(value)),
            ]
        else:
            table[option.name] = value
    return tomlkit.dumps(document)


def _said(item: object) -> str:
    return item.as_string().strip().lstrip("# ") if isinstance(item, Comment) else ""


def _is_default(item: object, name: str) -> bool:
    said, equals, _ = _said(item).partition("=")
    return bool(equals) and said.strip() == name


def _table(document: tomlkit.TOMLDocument, name: str) -> MutableMapping[str, Any]:
    """A table of the file, made if it is not there; written in braces or in pieces, it is no :class:`Table`."""
    if name not in document:
        if document.body and not document.as_string().endswith("\n\n"):
            document.add(tomlkit.nl())
        document[name] = tomlkit.table()
    table = document[name]
    if not isinstance(table, MutableMapping):
        raise _NoTableError(name)
    return table


def _forget(keys: MutableMapping[str, Any], command: str) -> None:
    """Take a command away, also where its name was written without quotes, which makes tables of its parts."""
    if command in keys:
        del keys[command]
        return
    for at, sign in enumerate(command):
        inner = keys.get(command[:at]) if sign == "." else None
        if isinstance(inner, MutableMapping):
            _forget(inner, command[at + 1 :])
            if not inner:
                del keys[command[:at]]


class _NoTableError(Exception):
    """What ought to be a table of the file is something else."""


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
