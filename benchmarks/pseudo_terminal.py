"""A program on a pseudo-terminal, as raw bytes and times."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

COLUMNS, LINES = 120, 40
PATIENCE_SECONDS = 30.0
READ_BYTES = 65536
KEPT = 200  # of what was written before, in which what is awaited may have begun


class PseudoTerminal:
    """Runs Python with arguments on a new pseudo-terminal of 120×40; leaving the block ends it and its children."""

    def __init__(self, arguments: Sequence[str], env: Mapping[str, str]) -> None:
        self.began = time.perf_counter()
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            size(0, COLUMNS, LINES)
            os.execve(sys.executable, [sys.executable, *arguments], dict(env))
        os.set_blocking(self._terminal, False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        children = psutil.Process(self.pid).children(recursive=True)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, timeout=PATIENCE_SECONDS)
        os.close(self._terminal)

    @property
    def work(self) -> float:
        """Milliseconds on a CPU of all of the program's threads that are still there."""
        spent = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with suppress(OSError):
                spent += int((task / "schedstat").read_text().split()[0])
        return spent / 1e6

    def until(self, awaited: bytes, typed: bytes = b"") -> float:
        """Type, and read until ``awaited`` comes; returns the moment. Raises :class:`TimeoutError`."""
        seen = b""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while awaited not in seen:
            writers = [self._terminal] if typed else []
            left = max(0.0, deadline - time.monotonic())
            readable, writable, _ = select.select([self._terminal], writers, [], left)
            if not readable and not writable:
                raise TimeoutError(f"{awaited!r} does not come; the terminal got {seen[-500:]!r}")
            if writable:
                with suppress(BlockingIOError):
                    typed = typed[os.write(self._terminal, typed) :]
            if readable:
                seen = seen[-KEPT:] + os.read(self._terminal, READ_BYTES)
        return time.perf_counter()

    def write(self, typed: bytes) -> None:
        """Type what fits into the terminal at once."""
        os.write(self._terminal, typed)

    def exchange(self, typed: bytes, awaited: bytes) -> float:
        """Milliseconds from typing until ``awaited`` comes; what was written before does not count."""
        self.drain(0.0)
        begin = time.perf_counter()
        return (self.until(awaited, typed) - begin) * 1000

    def drain(self, seconds: float) -> None:
        """Read, and forget, for so long, and what is there already."""
        end = time.monotonic() + seconds
        while select.select([self._terminal], [], [], max(0.0, end - time.monotonic()))[0]:
            os.read(self._terminal, READ_BYTES)


def size(terminal: int, columns: int, lines: int) -> None:
    """Set the size of the terminal behind a file descriptor."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


def environment(home: Path) -> dict[str, str]:
    """This process's, less what would change the chat; compiled modules are kept, whatever a developer's shell says."""
    hidden = ("LOCALQWEN", "TEXTUAL", "PYTHONDONTWRITEBYTECODE", "NO_COLOR", "DISPLAY", "WAYLAND", "TMUX")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    return {**kept, "LOCALQWEN_HOME": str(home), "TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
