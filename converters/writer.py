"""The output file: header first, blocks at known offsets in any order, and the final name only when all is there."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from converters.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]


class OutputFile:
    """Writes ``PATH.part`` and renames it to ``path`` on success; on failure nothing stays.

    ``write_at`` may be called from several threads.
    """

    def __init__(self, path: Path, size: int, *, overwrite: bool) -> None:
        """Create ``PATH.part`` of ``size`` bytes.

        Raises:
            ConversionError: ``path`` exists and ``overwrite`` is false, another conversion is writing it, the
                directory is missing or cannot be written, or the disk has no room.
        """
        self.path = path
        self.part = path.with_name(path.name + ".part")
        self._overwrite = overwrite
        check_target(path, overwrite=overwrite)
        try:
            self._fd = os.open(self.part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise self._failed(error) from error
        if not self._lock():
            os.close(self._fd)
            raise ConversionError(
                f"Another conversion is writing {self.part}: wait for it, or choose another output name."
            )
        try:
            os.ftruncate(self._fd, 0)
            free = shutil.disk_usage(path.parent).free
            if free < size:
                raise ConversionError(
                    f"{path.parent} has {free / 1e9:.2f} GB free and {path.name} needs {size / 1e9:.2f} GB: "
                    "free some space or choose another folder."
                )
            os.ftruncate(self._fd, size)
        except BaseException as error:
            self._discard()
            if isinstance(error, OSError):
                raise self._failed(error) from error
            raise

    def _lock(self) -> bool:
        """Take the file for this process; false if another one has it, or has just finished it.

        The other process may have renamed its finished file between our opening and locking it. What we hold then is
        that finished file, no longer ``PATH.part``, and must not be touched.
        """
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return os.path.samestat(os.fstat(self._fd), self.part.stat())
        except OSError:
            return False

    def write_at(self, data: Buffer, offset: int) -> None:
        """Write all of ``data`` at ``offset`` bytes from the start.

        Raises:
            ConversionError: the disk is full or failing.
        """
        view = memoryview(data).cast("B")
        try:
            while view:
                written = os.pwrite(self._fd, view, offset)
                view = view[written:]
                offset += written
        except OSError as error:
            raise self._failed(error) from error

    def __enter__(self) -> OutputFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            os.fsync(self._fd)
            check_target(self.path, overwrite=self._overwrite)
            self.part.replace(self.path)
            _sync_directory(self.path.parent)
        except OSError as failure:
            self._discard()
            raise self._failed(failure) from failure
        except BaseException:
            self._discard()
            raise
        os.close(self._fd)

    def _discard(self) -> None:
        # Removed while the lock is still held, so that it cannot be another process's file.
        self.part.unlink(missing_ok=True)
        os.close(self._fd)

    def _failed(self, error: OSError) -> ConversionError:
        reason = error.strerror or str(error)
        return ConversionError(f"Cannot write {self.path}: {reason}; free some space or choose another folder.")


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse to replace what is already at ``path``, or to write where nothing can be written.

    Raises:
        ConversionError: says which.
    """
    if path.is_dir():
        raise ConversionError(f"{path} is a directory: give the name of the GGUF file to write.")
    if path.exists() and not overwrite:
        raise ConversionError(f"{path} exists already: choose another name, or replace it with --overwrite.")
    if not path.parent.is_dir():
        raise ConversionError(f"{path.parent} does not exist: create that folder first.")


def _sync_directory(directory: Path) -> None:
    """Make the rename itself survive a power cut."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
