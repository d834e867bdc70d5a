"""Conversations in files: written whole or not at all, and read with a sentence about what is wrong."""

from __future__ import annotations

import os
import re
import uuid
from contextlib import suppress
from pathlib import Path

from localqwen.chats.as_json import from_json, to_json
from localqwen.chats.as_markdown import from_markdown, to_markdown
from localqwen.chats.fields import TransferError
from localqwen.chats.rows import storable
from localqwen.chats.store import Store
from localqwen.chats.transfer import Transfer, shown, whole
from localqwen.chats.tree import Chat, Tree
from localqwen.ordinary_file import read_ordinary

__all__ = ["TransferError", "export_chat", "file_name", "import_chat", "read_file", "to_json", "to_markdown"]

# Far more than anybody writes; a file is read whole.
LARGEST_FILE = 256 << 20

NAME_LENGTH = 60


def export_chat(chat: Chat, tree: Tree, path: Path) -> None:
    """Write a conversation to ``path``: ``.md`` for the path that is shown, ``.json`` for all branches.

    A file that is there is replaced. Raises :class:`TransferError` when it cannot be written.
    """
    match path.suffix.lower():
        case ".md" | ".markdown":
            text = to_markdown(shown(chat, tree))
        case ".json":
            text = to_json(whole(chat, tree))
        case _:
            raise TransferError(f"cannot export to {path.name}: name it .md for Markdown or .json for JSON")
    write_whole(path, storable(text).encode())


def import_chat(store: Store, path: Path) -> Chat:
    """Add the conversation in a file, as a new one.

    Raises:
        TransferError: The file cannot be read or is no export.
        ChatStoreError: It could not be kept.
    """
    return store.add(read_file(path))


def read_file(path: Path) -> Transfer:
    """Read an export of either kind; what it is shows at its beginning.

    Raises:
        TransferError: The file cannot be read or is no export.
    """
    try:
        data = read_ordinary(path, LARGEST_FILE)
        if len(data) > LARGEST_FILE:
            raise TransferError(f"cannot import {path}: it is larger than {LARGEST_FILE >> 20} MiB")
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise TransferError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise TransferError(f"cannot import {path}: it is no text in UTF-8") from None
    try:
        return from_json(text) if text.lstrip().startswith("{") else from_markdown(text)
    except TransferError as error:
        raise TransferError(f"cannot import {path}: {error}; choose a file that localqwen exported") from None


def file_name(title: str, suffix: str) -> str:
    """A name for an export that every file system takes: ``capital-of-japan.md``."""
    words = re.sub(r"[\W_]+", "-", title.lower()).strip("-")[:NAME_LENGTH].strip("-")
    return (words or "conversation") + suffix


def write_whole(path: Path, data: bytes) -> None:
    """Write beside ``path``, and rename when everything is on the disk.

    Raises:
        TransferError: It cannot be written; what was under ``path`` is as it was.
    """
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        try:
            with part.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
    except OSError as error:
        raise TransferError(f"cannot write {path}: {error.strerror or error}; choose another place") from None
