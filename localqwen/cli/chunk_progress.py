"""Progress of a text that goes through a model in chunks: chunks, tokens per second, time left, on standard error."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from localqwen.cli import printable

if TYPE_CHECKING:
    from rich.status import Status

# Without a terminal: at most one line per this share of the work.
_STEP = 0.1


class ChunkProgress:
    """Shows how many of a known number of chunks are done; use it as a context manager.

    Args:
        description: what is being done, as the line's first words.
        chunks: how many there are.
        tokens: in each of them.
        stream: where to show it; standard error by default.
    """

    def __init__(self, description: str, chunks: int, tokens: int, stream: TextIO | None = None) -> None:
        from converters.progress import Pace

        self._description = printable(description)
        self._chunks, self._tokens = chunks, tokens
        self._stream = stream if stream is not None else sys.stderr
        self._pace = Pace()
        self._pace.rate(0)
        self._next = _STEP
        self._status: Status | None = None
        if self._stream.isatty():
            from rich.console import Console
            from rich.status import Status
            from rich.text import Text

            self._status = Status(Text(f"{self._description}…"), console=Console(file=self._stream))

    def update(self, done: int) -> None:
        """Say that ``done`` chunks are done."""
        rate = self._pace.rate(done)
        line = f"{self._description}: {done} of {self._chunks} chunks"
        if rate is not None:
            line += f", {rate * self._tokens:,.0f} tokens/s"
            if done < self._chunks:
                line += f", {(self._chunks - done) / rate:.0f} s left"
        if self._status is not None:
            from rich.text import Text

            self._status.update(Text(line))
        elif done / self._chunks >= self._next:
            self._next = done // (self._chunks * _STEP) * _STEP + _STEP
            print(line, file=self._stream, flush=True)

    def __enter__(self) -> ChunkProgress:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()
