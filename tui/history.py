"""Walking through what was sent before, without losing what is being written. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class History:
    """Earlier messages, oldest first, and behind the newest a slot for the draft that the walk began with.

    What is changed on the way stays changed for the rest of the walk, so that a look at another entry costs nothing.
    """

    def __init__(self, entries: Callable[[], Sequence[str]] = tuple) -> None:
        """``entries`` gives the messages of all conversations, oldest first; it is asked when a walk begins."""
        self._entries = entries
        self._added: list[str] = []
        self._walk: list[str] = []
        self._shown: list[str] = []
        self._place = 0

    @property
    def is_begun(self) -> bool:
        """Whether the walk has its entries already."""
        return bool(self._shown)

    @property
    def is_walking(self) -> bool:
        """Whether an entry is shown rather than the draft."""
        return bool(self._shown) and self._place < len(self._shown) - 1

    @property
    def draft(self) -> str | None:
        """The draft that waits behind the entries, or ``None`` when the draft itself is shown."""
        return self._shown[-1] if self.is_walking else None

    def is_as_sent(self, text: str) -> bool:
        """Whether ``text`` is just what the entry that is shown said, so that nothing of it can be lost."""
        return self.is_walking and text == self._walk[self._place]

    def add(self, text: str) -> None:
        """A message was sent: the walk is over, and the next one begins with it."""
        if text.strip():
            self._added.append(text)
        self.leave()

    def forget(self) -> None:
        """What was sent since the beginning is offered no more, unless it is among the entries."""
        self._added.clear()
        self.leave()

    def leave(self) -> None:
        """Forget the walk; the entries stay."""
        self._walk, self._shown, self._place = [], [], 0

    def older(self, text: str) -> str | None:
        """The entry before the one shown, or ``None`` at the first; ``text`` is what stands there now."""
        if not self._shown:
            self._walk = _without_repeats([*self._entries(), *self._added])
            self._shown = [*self._walk, text]
            self._place = len(self._walk)
        return self._step(-1, text)

    def newer(self, text: str) -> str | None:
        """The entry after the one shown, at last the draft; ``None`` behind it."""
        return self._step(1, text) if self._shown else None

    def _step(self, direction: int, text: str) -> str | None:
        place = self._place + direction
        if not 0 <= place < len(self._shown):
            if not self.is_walking:
                self.leave()
            return None
        self._shown[self._place] = text
        self._place = place
        found = self._shown[place]
        if place == len(self._shown) - 1:
            # Back at the draft: what is typed from here on is the draft of the next walk.
            self.leave()
        return found


def _without_repeats(entries: Sequence[str]) -> list[str]:
    """The entries without blank ones, each only where it was sent last."""
    newest_first = dict.fromkeys(entry for entry in reversed(entries) if entry.strip())
    return list(reversed(newest_first))
