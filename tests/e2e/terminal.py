"""A terminal for tests: a program behind a pseudo-terminal, and the screen that it draws."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import pexpect
import pyte

COLUMNS, LINES = 100, 32


class Terminal:
    """Runs a command as a person would, and shows what they would see."""

    def __init__(self, command: str, arguments: list[str], env: dict[str, str]) -> None:
        self.output = b""
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)
        env = {**env, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
        self._child: Any = pexpect.spawn(command, arguments, env=env, dimensions=(LINES, COLUMNS), timeout=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._child.close(force=True)

    @property
    def text(self) -> str:
        """The screen as text."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    @property
    def pid(self) -> int:
        """The program's process id."""
        return int(self._child.pid)

    def type(self, keys: str) -> None:
        """Type; ``\\r`` is Enter and ``\\x1b`` is Esc."""
        self._child.send(keys.encode())

    def until(self, condition: Callable[[str], object], seconds: float = 60) -> None:
        """Read what the program draws until the screen fulfils a condition."""
        deadline = time.monotonic() + seconds
        while not condition(self.text):
            assert time.monotonic() < deadline, "waited in vain; the screen shows:\n" + self.text
            self._read()

    def until_shown(self, *texts: str, seconds: float = 60) -> None:
        """Wait until all these texts are on the screen."""
        self.until(lambda screen: all(text in screen for text in texts), seconds)

    def wait(self, seconds: float = 30) -> int:
        """Wait until the program has ended, and return its exit status."""
        deadline = time.monotonic() + seconds
        while self._child.isalive():
            assert time.monotonic() < deadline, "it does not end; the screen shows:\n" + self.text
            self._read()
        self._child.close()
        return int(self._child.exitstatus if self._child.exitstatus is not None else -self._child.signalstatus)

    def _read(self) -> None:
        try:
            data: bytes = self._child.read_nonblocking(65536, timeout=0.05)
        except (pexpect.TIMEOUT, pexpect.EOF):
            return
        self.output += data
        # pyte does not know the Kitty protocol's private sequences and would print their letters.
        self._stream.feed(data.replace(b"\x1b[>25u", b"").replace(b"\x1b[<u", b"").replace(b"\x1b[>1u", b""))
