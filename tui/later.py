"""Something that is called once, some time from now, however often it is asked for: a frame, or keeping what is typed.

A timer of Textual is a task of its own, and its end a message to the screen, whose queue is looked through then. At
twenty frames a second these were a tenth of what the chat costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from textual.message_pump import MessagePump


class Later:
    """Calls ``call`` as a part of ``owner``, which has to be running then."""

    def __init__(self, owner: MessagePump, call: Callable[[], None]) -> None:
        self._owner = owner
        self._call = call
        self._handle: asyncio.TimerHandle | None = None

    @property
    def is_set(self) -> bool:
        """Whether the call is still to come."""
        return self._handle is not None

    def set(self, seconds: float) -> None:
        """Call so many seconds from now, unless that was said already."""
        if self._handle is None:
            self._handle = asyncio.get_running_loop().call_later(seconds, self._run)

    def cancel(self) -> None:
        """Do not call."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _run(self) -> None:
        self._handle = None
        if not self._owner.is_running:
            return
        with self._owner._context():
            try:
                self._call()
            except Exception as error:  # as Textual does with what fails in a timer
                self._owner.app._handle_exception(error)
