"""Which processes that write conversations are alive: each holds a file lock, which the system frees at any death.

Process ids would not do: they come back with another meaning, after a reboot for instance.
"""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path

from filelock import FileLock, Timeout


class Holder:
    """This process's lock, and a look at the others'."""

    def __init__(self, folder: Path) -> None:
        """Take a lock of our own in ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.name = uuid.uuid4().hex
        # Not thread-local: the store may be closed from another thread than the one that opened it.
        self._lock = FileLock(self._path(self.name), timeout=0, thread_local=False)
        self._lock.acquire()

    def release(self) -> None:
        """Free the lock and remove its file."""
        self._lock.release(force=True)
        with contextlib.suppress(OSError):
            self._path(self.name).unlink()

    def is_alive(self, name: str) -> bool:
        """Whether the process that calls itself ``name`` still runs; a dead one's file is cleared away."""
        if name == self.name:
            return True
        path = self._path(name)
        if not path.exists():
            return False
        try:
            with FileLock(path, timeout=0):
                pass
        except Timeout:
            return True
        except OSError:
            # Unreadable, for instance another user's: better to leave its messages alone.
            return True
        with contextlib.suppress(OSError):
            path.unlink()
        return False

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.lock"


class Unshared:
    """The holder of conversations that no other process can see."""

    name = "unshared"

    def release(self) -> None:
        """Nothing is held."""

    def is_alive(self, name: str) -> bool:
        """Only this process."""
        return name == self.name
