"""The output file: blocks at known offsets in any order, a journal of what is finished, the final name at the end."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from converters.errors import ConversionError, ResumableError
from converters.journal import Journal, State, read_journal
from converters.source import Consumed

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]

GOES_ON = "the same command goes on where it stopped"


class OutputFile:
    """Writes ``PATH.part``, renamed to ``path`` on success; use it as a context manager.

    ``PATH.part.journal`` says which slabs are finished. Both stay after Ctrl-C, a kill or a :class:`ResumableError`,
    and the next run with the same ``conversion`` goes on with them. Both are removed after any other
    :class:`ConversionError`, because going on would only fail again, unless source files were removed on the way.
    ``write_at`` may be called from several threads, everything else from one.
    """

    journal: Journal

    def __init__(
        self,
        path: Path,
        size: int,
        *,
        overwrite: bool,
        conversion: str = "",
        slabs: int = 0,
        origin: str = "",
        on_note: Callable[[str], None] | None = None,
    ) -> None:
        """Open or create ``PATH.part`` of ``size`` bytes.

        Args:
            path: the final name.
            size: bytes of the finished file.
            overwrite: replace a file under the final name.
            conversion: names everything that decides the file's bytes.
            slabs: number of pieces that the journal counts.
            origin: where the weights come from, kept in the journal.
            on_note: gets a sentence when an unfinished file of another conversion is dropped.

        Raises:
            ConversionError: ``path`` exists and ``overwrite`` is false, another conversion is writing it, the
                directory is missing or cannot be written, or the disk has no room.
        """
        self.path = path
        self.part = part_path(path)
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
            self._begin(size, on_note, State(conversion, slabs, origin))
        except OSError as error:
            os.close(self._fd)
            raise self._failed(error) from error
        except BaseException:
            os.close(self._fd)
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

    def _begin(self, size: int, on_note: Callable[[str], None] | None, job: State) -> None:
        journal = journal_path(self.path)
        state = read_journal(journal)
        same = state is not None and state.conversion == job.conversion and os.fstat(self._fd).st_size == size
        if not same:
            if state is not None and state.consumed:
                raise ConversionError(
                    f"{self.part} holds what another conversion made of source files that it has removed: finish that "
                    "one with its own options, or choose another output name."
                )
            if state is not None and on_note:
                on_note(f"{self.part} is of another conversion and cannot be continued: starting over.")
            # The journal goes first: were we killed in between, it must not be taken for that of the new file.
            journal.unlink(missing_ok=True)
            os.ftruncate(self._fd, 0)
        free = shutil.disk_usage(self.path.parent).free
        needed = size - os.fstat(self._fd).st_blocks * 512
        if free < needed:
            if not same:
                self.part.unlink(missing_ok=True)
            raise ConversionError(
                f"{self.path.parent} has {free / 1e9:.2f} GB free and {self.path.name} needs {needed / 1e9:.2f} GB: "
                "free some space or choose another folder."
            )
        self.journal = Journal(journal, self._sync, job)
        os.ftruncate(self._fd, size)

    def write_at(self, data: Buffer, offset: int) -> None:
        """Write all of ``data`` at ``offset`` bytes from the start.

        Raises:
            ResumableError: the disk is full or failing.
        """
        view = memoryview(data).cast("B")
        try:
            while view:
                written = os.pwrite(self._fd, view, offset)
                view = view[written:]
                offset += written
        except OSError as error:
            raise self._failed(error) from error

    def finished(self, slab: int, source_bytes: int) -> None:
        """Tell the journal that a slab was written. Raises ResumableError."""
        with self._explained():
            self.journal.add(slab, source_bytes)

    def flush(self) -> None:
        """Bring all finished slabs into the journal. Raises ResumableError."""
        with self._explained():
            self.journal.flush()

    def undo(self, slabs: Iterable[int]) -> None:
        """Take back finished slabs. Raises ResumableError."""
        with self._explained():
            self.journal.undo(slabs)

    def consume(self, name: str, file: Consumed) -> None:
        """Note that a source file is about to be removed. Raises ResumableError."""
        with self._explained():
            self.journal.consume(name, file)

    def read_at(self, offset: int, size: int) -> bytes:
        """Bytes that were written before. Raises ResumableError."""
        try:
            return os.pread(self._fd, size, offset)
        except OSError as error:
            raise self._failed(error) from error

    def __enter__(self) -> OutputFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._complete()
            elif isinstance(error, ConversionError) and not isinstance(error, ResumableError):
                self._discard()
            else:
                self._keep()
        finally:
            self.journal.close()
            # Closed last: the lock that goes with it is what makes the files ours.
            os.close(self._fd)

    def _complete(self) -> None:
        try:
            os.fsync(self._fd)
            check_target(self.path, overwrite=self._overwrite)
            self.part.replace(self.path)
            # After the rename: a journal without its part is void, but a part without its journal would be lost.
            self.journal.path.unlink(missing_ok=True)
            _sync_directory(self.path.parent)
        except OSError as failure:
            self._keep()
            raise self._failed(failure) from failure
        except ConversionError:
            # A file appeared under the final name: the work is done and only needs --overwrite.
            self._keep()
            raise

    def _keep(self) -> None:
        # A disk that failed before may fail again; what was committed earlier still counts.
        with suppress(OSError):
            self.journal.flush()
        if not self.journal.state.done:
            self._discard()

    def _discard(self) -> None:
        if not self.journal.state.consumed:
            self.part.unlink(missing_ok=True)
            self.journal.path.unlink(missing_ok=True)

    def _sync(self) -> None:
        os.fdatasync(self._fd)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> ResumableError:
        reason = error.strerror or str(error)
        return ResumableError(f"Cannot write {self.path}: {reason}; put that right (free some space?) and {GOES_ON}.")


def part_path(path: Path) -> Path:
    """The unfinished file of an output."""
    return path.with_name(path.name + ".part")


def journal_path(path: Path) -> Path:
    """The journal of an output."""
    return path.with_name(path.name + ".part.journal")


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
