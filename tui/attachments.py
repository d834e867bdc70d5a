"""Text files and long pastes that go out beside a message: reading them, naming them, finding them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from localqwen.chats.attachment import Attachment
from localqwen.ordinary_file import NotAnOrdinaryFileError, read_ordinary
from tui.completion import Match, paths_for
from tui.sanitize import safe_line, without_controls

LARGEST_FILE = 8 << 20
MOST_FILES = 20_000
SCAN_SECONDS = 2.0
# How long a list of files is good for: a person who makes a file wants to attach it soon after.
FRESH_SECONDS = 10.0
SLICE = 500
# Folders that hold what programs made, for places that git knows nothing about.
MADE = {"node_modules", "__pycache__", "venv", "env", "build", "dist", "target", "site-packages"}


class AttachmentError(Exception):
    """A file that cannot be attached; its text is a sentence for the person."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is offered for sending: the text as it was typed, and what goes with it."""

    text: str = ""
    attachments: tuple[Attachment, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it that a model could read."""
        return not self.text.strip() and not self.attachments


def human_size(count: int) -> str:
    """A number of bytes in words: ``812 B``, ``1.0 MiB``."""
    if count < 1024:
        return f"{count} B"
    size, unit = count / 1024, "KiB"
    if size >= 1024:
        size, unit = size / 1024, "MiB"
    return f"{size:,.1f} {unit}"


def pasted(text: str, taken: Sequence[Attachment]) -> Attachment:
    """A paste as an attachment, with a name that none of the others has."""
    names = {attachment.name for attachment in taken}
    number = next(n for n in range(1, len(names) + 2) if f"pasted text {n}" not in names)
    return Attachment(f"pasted text {number}", text)


def read_attachment(path: str, base: Path) -> Attachment:
    """The text file at ``path``, which may begin with ``~`` and else starts from ``base``.

    Blocks; call it in a thread.

    Raises:
        AttachmentError: it is no text in UTF-8, too big, gone, unreadable, or no file.
    """
    name = safe_line(path)
    try:
        place = base / Path(path).expanduser()
        data = read_ordinary(place, LARGEST_FILE)
    except FileNotFoundError:
        raise AttachmentError(f"{name} is not there any more.") from None
    except IsADirectoryError:
        raise AttachmentError(f"{name} is a folder: attach the files in it one by one.") from None
    except NotAnOrdinaryFileError:
        raise AttachmentError(f"{name} is no ordinary file, so it cannot be attached.") from None
    except PermissionError:
        raise AttachmentError(f"You may not read {name}.") from None
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AttachmentError(f"{name} could not be read: {safe_line(reason)}.") from None
    if len(data) > LARGEST_FILE:
        raise AttachmentError(f"{name} has more than {human_size(LARGEST_FILE)}, the most that can be attached.")
    if b"\0" in data:
        raise AttachmentError(f"{name} is no text file, so a model cannot read it.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise AttachmentError(f"{name} is not in UTF-8: save it in that encoding to attach it.") from None
    return Attachment(path, without_controls(text))


class Files:
    """The files that can be attached, found as they are asked for. All of it blocks; call it in a thread."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._index: list[str] = []
        self._at = float("-inf")

    @property
    def base(self) -> Path:
        """Where paths start."""
        return self._base

    def find(self, query: str, limit: int) -> list[tuple[str, Match]]:
        """The best paths for a query; folders end in ``/``.

        Files under the base come in any depth, but hidden ones, and those that git ignores, only where the query
        spells out their folder, as one does for files elsewhere (``~/``, ``/``, ``../``).
        """
        folder, _, name = query.rpartition("/")
        listed: list[tuple[str, Match]] = []
        if "/" in query or query in {"~", "."} or query.startswith("."):
            listed = list(islice(self._listed(folder + "/" if "/" in query else "", name, query), limit))
        if query.startswith(("/", "~", ".")):
            return listed
        seen = {path for path, _ in listed}
        indexed = [found for found in self._ranked(query) if found[0] not in seen]
        return [*listed, *indexed][:limit] if len(listed) < limit // 2 else [*listed[: limit // 2], *indexed][:limit]

    def _ranked(self, query: str) -> list[tuple[str, Match]]:
        if time.monotonic() - self._at > FRESH_SECONDS:
            self._index = list(islice(indexed_files(self._base), MOST_FILES))
            self._at = time.monotonic()
        found: list[tuple[str, Match]] = []
        for begin in range(0, len(self._index), SLICE):
            found += paths_for(query, self._index[begin : begin + SLICE])
            # Lets the thread that draws have its turn: a key must not wait for a long list.
            time.sleep(0)
        found.sort(key=lambda entry: (-entry[1].score, len(entry[0]), entry[0]))
        return found

    def _listed(self, folder: str, name: str, query: str) -> Iterator[tuple[str, Match]]:
        if query == "~":
            folder, name = "~/", ""
        try:
            place = self._base / Path(folder).expanduser() if folder else self._base
            with os.scandir(place) as entries:
                names = [
                    entry.name + ("/" if _is_folder(entry) else "")
                    for entry in islice(entries, MOST_FILES)
                    if entry.name.startswith(".") == name.startswith(".")
                ]
        except (OSError, ValueError, RuntimeError):
            return
        for found, match in paths_for(name, sorted(names)):
            yield folder + found, Match(match.score, tuple(at + len(folder) for at in match.positions))


def indexed_files(base: Path) -> Iterator[str]:
    """Paths of files under ``base``: what git would list, else all that are not hidden or made by programs."""
    listed = _asked_git(base)
    if listed is not None:
        return (path for path in listed if not any(part.startswith(".") for part in path.split("/")))
    return _walked(base)


def _asked_git(base: Path) -> list[str] | None:
    # A repository's own settings could name a program to run as its file system monitor.
    command = ["git", "-c", "core.fsmonitor=false", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(
            command, cwd=base, capture_output=True, stdin=subprocess.DEVNULL, timeout=SCAN_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return None
    return [os.fsdecode(path) for path in done.stdout.split(b"\0") if path]


def _walked(base: Path) -> Iterator[str]:
    deadline = time.monotonic() + SCAN_SECONDS
    # Breadth first: when time runs out, what is near has been seen.
    folders = [""]
    for folder in folders:
        if time.monotonic() > deadline:
            return
        try:
            with os.scandir(base / folder) as entries:
                found = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda e: e.name)
        except OSError:
            continue
        for entry in found:
            if not _is_folder(entry, follow=False):
                if not entry.is_symlink() or not _is_folder(entry):
                    yield folder + entry.name
            elif entry.name not in MADE:
                folders.append(f"{folder}{entry.name}/")
        time.sleep(0)


def _is_folder(entry: os.DirEntry[str], *, follow: bool = True) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follow)
    except OSError:
        return False
