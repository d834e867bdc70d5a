"""Tokens' bytes to text: whole characters only, and stop strings found wherever they lie. Pure.

The cost of a token does not depend on how long the answer already is.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class StopMatcher:
    """Finds the first stop string in a text that comes in pieces.

    Held back is only the longest end of the text that could still become a stop string. The result does not depend on
    how the text is cut: the stop string that is complete first wins, the longer of two that end together.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._longest = max(map(len, self._stops), default=0)
        self._held = ""

    def feed(self, text: str) -> tuple[str, bool]:
        """Take more text; return what may be shown, and whether a stop string ended it."""
        text = self._held + text
        found = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self._held = ""
            return text[: min(found)[1]], True
        keep = self._could_start(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep], False

    def finish(self) -> str:
        """The text that was held back and turned out to be no stop string."""
        held, self._held = self._held, ""
        return held

    def _could_start(self, text: str) -> int:
        for length in range(min(len(text), self._longest - 1), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self._stops):
                return length
        return 0


class AnswerText:
    """Turns the bytes of an answer's tokens into the text to show."""

    def __init__(self, stops: Sequence[str] = ()) -> None:
        # A character may be spread over several tokens; bytes that never become one turn into U+FFFD.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._matcher = StopMatcher(stops)

    def feed(self, piece: bytes) -> tuple[str, bool]:
        """Take a token's bytes; return the text that they complete, and whether a stop string was found."""
        text = self._decoder.decode(piece)
        return self._matcher.feed(text) if text else ("", False)

    def finish(self) -> str:
        """What is left when no stop string ended the answer."""
        text, stopped = self._matcher.feed(self._decoder.decode(b"", final=True))
        return text if stopped else text + self._matcher.finish()
