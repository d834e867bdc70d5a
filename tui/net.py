"""What catches a mistake of ours before it ends the chat."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from textual.message import Message
from textual.message_pump import MessagePump
from textual.worker import WorkerFailed

# What fails as often as this cannot be gone on with: painting fails at every frame, for example.
MOST, WITHIN_SECONDS = 5, 10.0
LARGEST_LOG = 1 << 20


class Net:
    """Counts mistakes, and notes each in a file: where it happened, never what variables held or an exception says."""

    def __init__(self, log: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """``log`` gets the tracebacks."""
        self.log = log
        self._clock = clock
        self._at: list[float] = []

    def holds(self) -> bool:
        """Take one more mistake; ``False`` when there are too many of them to go on."""
        now = self._clock()
        self._at = [at for at in self._at if now - at < WITHIN_SECONDS] + [now]
        return len(self._at) <= MOST

    def note(self, trace: str) -> None:
        """Write a traceback down, if that can be done. Blocks."""
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            is_full = self.log.exists() and self.log.stat().st_size > LARGEST_LOG
            flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if is_full else os.O_APPEND)
            with os.fdopen(os.open(self.log, flags, 0o600), "a", encoding="utf-8", errors="replace") as file:
                file.write(f"{datetime.now().astimezone().isoformat(timespec='seconds')}\n{trace}\n")
        except OSError:
            pass  # there is nobody left to tell


def cause(error: Exception) -> BaseException:
    """What has really happened: failures of workers and of groups of tasks are wrapped."""
    found = error.error if isinstance(error, WorkerFailed) else error
    while isinstance(found, BaseExceptionGroup) and len(found.exceptions) == 1:
        found = found.exceptions[0]
    return found


def trace_of(error: BaseException) -> str:
    """A traceback of types and places alone.

    Neither the values of variables nor what an exception says are in it: a key or a text may be among them.
    """
    return "".join(_trace(error, set()))


def _trace(error: BaseException, told: set[int]) -> Iterator[str]:
    told.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in told:
        yield from _trace(before, told)
        yield "\nfrom which, or while that was dealt with:\n\n"
    yield "Traceback (most recent call last):\n"
    yield from traceback.format_tb(error.__traceback__)
    yield f"{type(error).__module__}.{type(error).__qualname__}\n"
    for number, inner in enumerate(error.exceptions if isinstance(error, BaseExceptionGroup) else (), 1):
        if id(inner) not in told:
            yield f"\n{number} of its parts:\n\n"
            yield from _trace(inner, told)


def keep_pumps_alive(caught: Callable[[Exception], bool]) -> Callable[[], None]:
    """Let widgets go on with their next message after one whose handler has failed; returns what ends that.

    ``caught`` tells whether to go on. Textual ends a widget's loop with the first exception in it, whatever the app
    makes of that, and has no public hook for this: so a private method is wrapped, for all widgets of the process.
    """
    dispatch = MessagePump._dispatch_message

    async def _dispatch_message(self: MessagePump, message: Message) -> None:
        try:
            await dispatch(self, message)
        except Exception as error:
            if not caught(error):
                raise

    MessagePump._dispatch_message = _dispatch_message  # type: ignore[method-assign]

    def undo() -> None:
        MessagePump._dispatch_message = dispatch  # type: ignore[method-assign]

    return undo
