"""Where a checkpoint's weights come from: named files with byte-range reads, on this disk or elsewhere.

Everything small (config, index, tokenizer) is read from a directory; only the safetensors files come through here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from converters.errors import CheckpointError

Bytes = npt.NDArray[np.uint8]


class Range(NamedTuple):
    """``nbytes`` of file ``name`` from ``offset``."""

    name: str
    offset: int
    nbytes: int


class Weights(Protocol):
    """The safetensors files of one checkpoint. ``read`` may be called from several threads."""

    @property
    def origin(self) -> str:
        """Where they come from, so that a later run can ask for the same; empty for this disk."""

    def names(self) -> Iterable[str]:
        """All files, without directories."""

    def size(self, name: str) -> int:
        """Length of a file in bytes."""

    def identity(self, name: str) -> str:
        """A text that is another one when the file's bytes may be."""

    @property
    def memory(self) -> int:
        """Bytes that reading ahead takes at most."""

    def expect(self, reads: Iterable[Range], untouched: Container[str]) -> None:
        """Say which reads will come, in which order; each of them must then come once.

        ``untouched`` are the files of which no earlier run took anything.
        """

    def read(self, name: str, offset: int, target: Bytes) -> None:
        """Fill ``target`` from ``offset``. Raises a ConversionError."""

    def check(self) -> None:
        """Make sure that all files are still what they were. Raises CheckpointError."""

    def remove(self, name: str) -> None:
        """Delete a file that is no longer needed."""

    def interrupt(self) -> None:
        """Let reads that wait for something fail soon."""

    def close(self) -> None:
        """Give back what is open."""


@dataclass(frozen=True)
class Consumed:
    """A file that was removed after its weights had been written: what remains to know of it."""

    size: int
    identity: str
    header: bytes  # the file's beginning: length and JSON


class LocalWeights:
    """The safetensors files of a directory, read with ``pread``.

    Not memory-mapped: a mapped file that shrinks while it is read kills the process (SIGBUS), and mapped pages count
    as resident memory.
    """

    def __init__(self, directory: Path, consumed: Mapping[str, Consumed] | None = None) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._fds: dict[str, int] = {}
        self._first: dict[str, os.stat_result] = {}
        self._consumed = dict(consumed or {})

    @property
    def origin(self) -> str:
        """This disk."""
        return ""

    def names(self) -> list[str]:
        """All ``*.safetensors``, those that were consumed included."""
        here = {path.name for path in self._directory.glob("*.safetensors") if path.is_file()}
        return sorted(here | self._consumed.keys())

    def size(self, name: str) -> int:
        """Length in bytes, as it was when the file was first looked at."""
        gone = self._gone(name)
        return gone.size if gone else self._stat(name).st_size

    def identity(self, name: str) -> str:
        """Size and time of the last change."""
        gone = self._gone(name)
        return gone.identity if gone else f"{self._stat(name).st_size} {self._stat(name).st_mtime_ns}"

    @property
    def memory(self) -> int:
        """Nothing of ours: the kernel reads ahead by itself."""
        return 0

    def expect(self, reads: Iterable[Range], untouched: Container[str]) -> None:
        """Nothing to prepare."""

    def read(self, name: str, offset: int, target: Bytes) -> None:
        """Fill ``target`` with the bytes from ``offset``.

        Raises:
            CheckpointError: the file cannot be read, or is not what it was at first.
        """
        if gone := self._gone(name):
            data = gone.header[offset : offset + target.nbytes]
            target[: len(data)] = np.frombuffer(data, np.uint8)
            if len(data) < target.nbytes:
                raise CheckpointError(f"{self._directory / name} was removed by an earlier run: copy it there again.")
            return
        fd, view, path = self._fd(name), target.data, self._directory / name
        try:
            while view:
                count = os.preadv(fd, [view], offset)
                if not count:
                    raise CheckpointError(f"{path} became shorter while it was read: download it again.")
                view = view[count:]
                offset += count
            self._compare(name, os.fstat(fd))
        except OSError as error:
            raise CheckpointError(f"Cannot read {path}: {error.strerror or error}; check the disk.") from error

    def check(self) -> None:
        """Compare size, time and inode of every file that was read with what they were at first.

        Raises:
            CheckpointError: one of them changed.
        """
        for name in self._fds:
            path = self._directory / name
            try:
                self._compare(name, path.stat())
            except OSError as error:
                raise CheckpointError(f"{path} was removed while it was read: start again.") from error

    def remove(self, name: str) -> None:
        """Delete the file; what is open of it is closed."""
        with self._lock:
            fd = self._fds.pop(name, None)
        if fd is not None:
            os.close(fd)
        (self._directory / name).unlink(missing_ok=True)

    def interrupt(self) -> None:
        """No read waits long."""

    def close(self) -> None:
        """Close all files."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()

    def _gone(self, name: str) -> Consumed | None:
        """What is known of a removed file; one that is there again counts as any other."""
        gone = self._consumed.get(name)
        return None if gone is None or (self._directory / name).exists() else gone

    def _fd(self, name: str) -> int:
        path = self._directory / name
        with self._lock:
            if name not in self._fds:
                try:
                    self._fds[name] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                except OSError as error:
                    raise CheckpointError(
                        f"Cannot read {path}: {error.strerror or error}; check its permissions."
                    ) from error
                self._first.setdefault(name, os.fstat(self._fds[name]))
            return self._fds[name]

    def _stat(self, name: str) -> os.stat_result:
        if name not in self._first:
            self._fd(name)
        return self._first[name]

    def _compare(self, name: str, now: os.stat_result) -> None:
        first, path = self._first[name], self._directory / name
        if now.st_size < first.st_size:
            raise CheckpointError(f"{path} became shorter while it was read: download it again.")
        before = (first.st_dev, first.st_ino, first.st_size, first.st_mtime_ns)
        if (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns) != before:
            raise CheckpointError(f"{path} changed while it was read: wait until it is complete and start again.")
