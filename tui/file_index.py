"""The files that can be attached, found while a part of a name is typed."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tui.completion import Match, paths_for

MOST_FILES = 20_000
SCAN_SECONDS = 2.0
# How long a list of files is good for: a person who makes a file wants to attach it soon after.
FRESH_SECONDS = 10.0
SLICE = 500
# Folders that hold what programs made, for places that git knows nothing about.
MADE = {"node_modules", "__pycache__", "venv", "env", "build", "dist", "target", "site-packages"}


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

    def find_folders(self, query: str, limit: int) -> list[tuple[str, Match]]:
        """The folders in the one that a query spells out, for files that are to be written."""
        folder, _, name = query.rpartition("/")
        listed = self._listed(folder + "/" if "/" in query else "", name, query)
        return list(islice((found for found in listed if found[0].endswith("/")), limit))

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
