"""Who reads from a loaded model, so that it is not freed meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from localqwen.errors import InvalidRequestError

T = TypeVar("T")


class Users(Generic[T]):
    """Counts the threads that use something, which its owner frees when none does any more."""

    def __init__(self, name: str) -> None:
        """``name`` is what a person calls it."""
        self.thing: T | None = None
        self._name = name
        self._count = 0
        self._changed = threading.Condition()

    def open(self, thing: T) -> None:
        """Let others use ``thing``."""
        self.thing = thing

    def close(self) -> None:
        """Let nobody begin to use it, and wait until nobody does."""
        with self._changed:
            self.thing = None
            self._changed.wait_for(lambda: not self._count)

    @contextmanager
    def using(self) -> Iterator[T]:
        """The thing, which stays until the block ends. Raises :class:`InvalidRequestError` when there is none."""
        with self._changed:
            if (thing := self.thing) is None:
                raise InvalidRequestError(f"{self._name} is not loaded: try again later.")
            self._count += 1
        try:
            yield thing
        finally:
            with self._changed:
                self._count -= 1
                self._changed.notify_all()
