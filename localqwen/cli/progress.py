"""Progress of long work on standard error: a bar with rate and time left, or plain lines where no terminal is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from localqwen.cli import printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from converters.convert import Progress as ConversionStep

# Without a terminal: at most one line per this share of the work, so that a log stays short.
_STEP = 0.1


@contextmanager
def conversion_progress(type_: str | None = None) -> Iterator[Callable[[ConversionStep], None]]:
    """Show a conversion: yields what ``converters.convert.convert`` takes as ``on_progress``."""
    with ByteProgress(f"Converting to {type_}" if type_ else "Converting") as progress:

        def show(step: ConversionStep) -> None:
            # One file says nothing that the total does not say.
            if step.file_total < step.total:
                progress.detail(step.file)
            progress.update(step.done, step.total)

        yield show


class ByteProgress:
    """Shows how many of a known number of bytes are done; use it as a context manager.

    Nothing is shown before the first update, so that work that turns out to be done already stays silent.

    Args:
        description: what is being done, as the line's first words.
        stream: where to show it; standard error by default.
    """

    def __init__(self, description: str, stream: TextIO | None = None) -> None:
        self._description = printable(description)
        self._detail = ""
        self._stream = stream if stream is not None else sys.stderr
        self._first: tuple[float, int] | None = None  # time and bytes of the first update
        self._next = _STEP
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        if self._stream.isatty():
            self._bar = _bar(self._stream)
            self._task = self._bar.add_task(self._description, total=None)

    def detail(self, text: str) -> None:
        """Show ``text`` after the description, in a terminal: what is being worked on."""
        if text != self._detail and self._bar is not None and self._task is not None:
            self._detail = text
            self._bar.update(self._task, description=f"{self._description} ({printable(text)})")

    def update(self, done: int, total: int) -> None:
        """Say that ``done`` of ``total`` bytes are done."""
        if self._first is None:
            self._first = (time.monotonic(), done)
        if self._bar is not None and self._task is not None:
            self._bar.start()  # does nothing the second time
            self._bar.update(self._task, completed=done, total=total)
        elif total and done / total >= self._next:
            self._next = done // (total * _STEP) * _STEP + _STEP
            self._line(done, total)

    def _line(self, done: int, total: int) -> None:
        start, before = self._first or (0.0, 0)
        elapsed = time.monotonic() - start
        line = f"{self._description}: {done / total:4.0%} of {total / 1e6:,.0f} MB"
        if elapsed > 0 and done > before:
            rate = (done - before) / elapsed
            line += f", {rate / 1e6:,.0f} MB/s"
            if done < total:
                line += f", {(total - done) / rate:.0f} s left"
        print(line, file=self._stream, flush=True)

    def __enter__(self) -> ByteProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def _bar(stream: TextIO) -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(file=stream),
    )
