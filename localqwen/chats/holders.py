"""Which processes that write conversations are alive: each holds a file lock, which the system frees at any death.

Process ids would not do: they come back with another meaning, after a reboot for instance.
"""

from __future__ import annotations

import contextlib
import fcntl
import uuid
from pathlib import Path
from typing import IO


class Holder:
    """This process's lock, and a look at the others'."""

    def __init__(self, folder: Path) -> None:
        """Take a lock of our own in ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.name = uuid.uuid4().hex
        self._lock = self._path(self.name).open("wb")
        _take(self._lock)

    def release(self) -> None:
        """Free the lock and remove its file."""
        self._lock.close()
        with contextlib.suppress(OSError):
            self._path(self.name).unlink()

    def is_alive(self, name: str) -> bool:
        """Whether the process that calls itself ``name`` still runs; a dead one's file is cleared away."""
        if name == self.name:
            return True
        path = self._path(name)
        try:
            with path.open("rb") as file:
                _take(file)
        except FileNotFoundError:
            return False
        except OSError:
            # Locked; or unreadable, for instance another user's: better to leave its messages alone.
            return True
        with contextlib.suppress(OSError):
            path.unlink()
        return False

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.lock"


def _take(file: IO[bytes]) -> None:
    """Lock an open file until it is closed; the library for that takes longer to import than a small app to paint."""
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class Unshared:
    """The holder of conversations that no other process can see."""

    name = "unshared"

    def release(self) -> None:
        """Nothing is held."""

    def is_alive(self, name: str) -> bool:
        """Only this process."""
        return name == self.name
