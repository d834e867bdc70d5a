"""Tokens of texts that come again: of past answers as they were generated, and of a conversation's other parts.

An answer's text, tokenized again, may give other tokens than were generated, and what the KV cache holds would then be
of no use from there on. So the generated tokens are kept and put back into the next prompt.
"""

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence


class TokenCache:
    """Tokens by text, at most ``limit`` in all; what was not asked for longest goes first. Any thread may use it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._entries: OrderedDict[str, array[int]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """How many tokens are kept; an entry counts one more."""
        return self._size

    def put(self, text: str, tokens: Sequence[int]) -> None:
        """Keep tokens in place of any that the text had; more than the limit are not kept."""
        entry = array("i", tokens)  # four bytes each, where a list takes 36
        with self._lock:
            self._size += len(entry) + 1 - self._forget(text)
            self._entries[text] = entry
            while self._size > self._limit:
                self._size -= self._forget(next(iter(self._entries)))

    def get(self, text: str) -> Sequence[int] | None:
        """The text's tokens, if they are still kept; they are not to be changed."""
        with self._lock:
            if (entry := self._entries.get(text)) is not None:
                self._entries.move_to_end(text)
            return entry

    def beginning_with(self, text: str) -> tuple[str, Sequence[int]] | None:
        """The entry that was used last of those whose text begins so. Looks at all of them."""
        with self._lock:
            found = next((key for key in reversed(self._entries) if key.startswith(text)), None)
            return (found, self._entries[found]) if found is not None else None

    def _forget(self, text: str) -> int:
        entry = self._entries.pop(text, None)
        return 0 if entry is None else len(entry) + 1


class KeptAnswers:
    """The tokens of past answers as they were generated, at most ``limit`` in all. Any thread may use it."""

    def __init__(self, limit: int, piece: Callable[[int], bytes], control_tokens: Collection[int]) -> None:
        """``piece`` gives a token's bytes; an answer with one of ``control_tokens`` is not kept."""
        self._cache = TokenCache(limit)
        self._piece = piece
        self._control = frozenset(control_tokens)

    def remember(self, text: str, tokens: Sequence[int]) -> bool:
        """Keep an answer's tokens; return whether that was done.

        Refused are tokens that are not exactly this text (a stop string was cut off, bytes were no character, a
        control token is among them): a prompt must say the same with them as without.
        """
        if not text or not self._control.isdisjoint(tokens) or b"".join(map(self._piece, tokens)) != _bytes(text):
            return False
        self._cache.put(text, tokens)
        return True

    def get(self, text: str) -> Sequence[int] | None:
        """The tokens of the answer with exactly this text, if they are still kept; they are not to be changed."""
        return self._cache.get(text)

    def beginning(self, text: str) -> tuple[Sequence[int], str]:
        """Tokens with which a kept answer begins as ``text`` does, and the rest of the text, which no token ends with.

        An answer that is stopped is often kept a few tokens longer than its reader has seen it.
        """
        found = self._cache.beginning_with(text) if text else None
        data = _bytes(text)
        if found is None or data is None:
            return (), text
        kept = at = end = 0
        for count, token in enumerate(found[1], 1):
            end += len(self._piece(token))
            if end > len(data):
                break
            if end == len(data) or data[end] & 0xC0 != 0x80:  # not in the middle of a character
                kept, at = count, end
        return found[1][:kept], data[at:].decode("utf-8", "replace")


def _bytes(text: str) -> bytes | None:
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which no tokens give
        return None
