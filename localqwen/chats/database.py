"""The SQLite file under the conversations: opening it, transactions, and errors as sentences.

Write-ahead logging lets a second terminal read while this one writes. ``synchronous=FULL`` is on purpose: a commit
then survives a power cut and not only a kill, and costs a quarter of a millisecond on an SSD, four times a second.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localqwen.chats.holders import Holder, Unshared
from localqwen.chats.migrations import migrate
from localqwen.errors import LocalqwenError

BUSY_SECONDS = 10.0

IN_MEMORY = Path(":memory:")


class ChatStoreError(LocalqwenError):
    """The conversations cannot be read or written."""


class Database:
    """One connection. Every method of its subclasses is one transaction and may be called from any thread."""

    def __init__(self, path: Path) -> None:
        """Open or create ``path``; :data:`IN_MEMORY` keeps nothing on a disk.

        Raises:
            ChatStoreError: The file is damaged, locked for long, or in a folder that cannot be written.
            LocalqwenError: A newer localqwen wrote it.
        """
        self.path = path
        self._lock = threading.RLock()
        self._holder = self._hold()
        try:
            with self._sentences():
                # isolation_level=None: transactions begin and end where this module says so.
                self._db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.execute("PRAGMA foreign_keys = ON")
                if self.is_temporary:
                    # Large sorts would spill into files.
                    self._db.execute("PRAGMA temp_store = MEMORY")
                migrate(self._db)
        except LocalqwenError:
            self._holder.release()
            raise

    @property
    def is_temporary(self) -> bool:
        """Whether everything is forgotten at the end."""
        return self.path == IN_MEMORY

    def close(self) -> None:
        """Close the file; the store cannot be used afterwards."""
        with self._lock:
            self._db.close()
            self._holder.release()

    def _hold(self) -> Holder | Unshared:
        if self.is_temporary:
            return Unshared()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return Holder(self.path.with_name(self.path.name + ".holders"))
        except OSError as error:
            raise ChatStoreError(
                f"cannot keep conversations in {self.path.parent}: {error.strerror or error}"
            ) from None

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._sentences():
            yield self._db

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._sentences():
            # IMMEDIATE waits for another terminal here, where busy_timeout works, and not in the middle.
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            where = "this temporary conversation" if self.is_temporary else f"the conversations in {self.path}"
            raise ChatStoreError(
                f"{where} cannot be used ({error}); check the disk, or set LOCALQWEN_HOME to another folder"
            ) from error
