"""Text that comes in crumbs, given out in whole lines and sentences. Pure.

A screen reader speaks what appears: words that trickle in are a stutter, and half a sentence is no sentence.
"""

from __future__ import annotations

import re

# The end of a line; of a sentence, with what closes it and the space behind; of a sentence in Chinese or Japanese.
# A number with its dot begins an item of a list.
_END = re.compile(r"\n|(?<!\d)[.!?…][\"'”’)\]*_`]*[ \t]+|[。！？][」』”’）]*")
LONGEST = 400  # characters; what has no end by then is cut at a space


class Sentences:
    """Feed it text; what it gives back, put together, is the same text."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> list[str]:
        """Take more text; return the lines and sentences that are complete now."""
        self._held += text
        complete = []
        at = 0
        for end in _END.finditer(self._held):
            # Where the text ends, more space or a closing quote may follow.
            if end.end() == len(self._held) and end.group() != "\n":
                break
            complete.append(self._held[at : end.end()])
            at = end.end()
        self._held = self._held[at:]
        while len(self._held) > LONGEST:
            cut = self._held.rfind(" ", 1, LONGEST) + 1 or LONGEST
            complete.append(self._held[:cut])
            self._held = self._held[cut:]
        return complete

    def finish(self) -> str:
        """What is left at the end."""
        held, self._held = self._held, ""
        return held
