"""Reading a file that a person has named, which may be anything: a pipe, a device, something huge."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


class NotAnOrdinaryFileError(OSError):
    """A pipe, a device, a socket: reading it might never end."""


def read_ordinary(path: Path, most: int) -> bytes:
    """The file's bytes, and not more than ``most`` and one, by which a caller sees that it is too large. Blocks.

    Raises:
        NotAnOrdinaryFileError: It is no file that has an end.
        OSError: It is a folder, or cannot be read.
        ValueError: No file can have that name.
    """
    # Not blocking: a pipe with no writer would wait for ever.
    with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise NotAnOrdinaryFileError(errno.EINVAL, "it is no ordinary file")
        return file.read(most + 1)
