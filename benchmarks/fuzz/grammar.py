"""All that the chat may write to a terminal while it runs, and nothing else. Pure.

Text is UTF-8 without controls, bidirectional overrides, line separators and surrogates; escape sequences are colours,
the cursor's place, the shape of the mouse's pointer, and what was copied. A line may end only where the cursor is
placed next. Modes are switched before the first frame and after the last one only, so that none is allowed in between.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Iterator

# What one escape sequence of ours looks like.
_COLOURS = re.compile(rb"\x1b\[([0-9;]*)m")
_PLACE = re.compile(rb"\x1b\[([0-9]+);([0-9]+)H")
_POINTER = re.compile(rb"\x1b\]22;(?:default|text|pointer)\x07")
_COPY = re.compile(rb"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07")
# What Textual switches: the other screen, the mouse, the cursor, the focus, pastes, the Kitty keys, and questions.
_MODES = frozenset(
    b"\x1b" + mode
    for mode in (
        *(b"[?%d%c" % (mode, switch) for mode in (1049, 1000, 1003, 1015, 1006, 25, 1004, 2004, 7) for switch in b"hl"),
        *(b"[>25u", b"[<u", b"[?2026$p", b"[?2048$p", b"[?2048h", b"[?2048l"),
    )
)
_LINE = b"\r\n"
# To find where one ends: complete sequences that may come, else the escape alone; and ends of lines.
_SEQUENCE = re.compile(
    rb"\r\n(?=\x1b\[[0-9]+;[0-9]+H)|\x1b(?:\[[?<>]?[0-9;]*\$?[a-zA-Z]|\](?:22|52);[^\x00-\x1f\x7f]*\x07)?"
)
# The beginning of one, at the end of what has come so far.
_BEGUN = re.compile(rb"\r(?:\n(?:\x1b(?:\[[0-9;]*)?)?)?\Z|\x1b(?:\[[?<>]?[0-9;]*\$?|\][^\x00-\x1f\x7f]*)?\Z")
_FLAGS = {b"0", b"1", b"2", b"3", b"4", b"7", b"9"}
_COLOUR = re.compile(rb"[34]8;2;\d{1,3};\d{1,3};\d{1,3}")
_BAD_TEXT = re.compile(
    rb"[\x00-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]|\xe2\x81[\xa6-\xa9]|\xed[\xa0-\xbf]|\xef\xbf[\xb9-\xbb]"
)
_EXCERPT = 24


class Grammar:
    """Reads what is written to a terminal of ``columns`` × ``lines``.

    Attributes:
        bytes: How many were read.
        foreign: What must not be there, and how often: excerpts.
        foreign_bytes: How many bytes those are; of a sequence that is not ours, its escape alone counts for sure.
        copies: What was copied to the terminal's clipboard, in order.
    """

    def __init__(self, columns: int, lines: int) -> None:
        self.bytes = 0
        self.foreign: Counter[bytes] = Counter()
        self.foreign_bytes = 0
        self.copies: list[bytes] = []
        self._may_switch = True
        self._columns = columns
        self._lines = lines
        self._held = b""
        self._good_colours: set[bytes] = set()

    def feed(self, data: bytes) -> bytes:
        """Check more bytes; return their text, a newline wherever the cursor was placed."""
        self.bytes += len(data)
        data = self._held + data
        end = _end_of_complete(data)
        data, self._held = data[:end], data[end:]
        text = b"".join(self._pieces(data))
        return text

    def run(self) -> None:
        """The chat is shown: no mode is switched any more."""
        self._may_switch = False

    def end(self) -> None:
        """The chat ends: modes are switched back."""
        self._may_switch = True

    def finish(self) -> None:
        """Nothing will come any more: what is held back is not complete."""
        if self._held:
            self._complain(self._held, len(self._held))
            self._held = b""

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        at = 0
        for found in _SEQUENCE.finditer(data):
            yield self._text(data[at : found.start()])
            sequence = found.group()
            at = found.end()
            if sequence in self._good_colours:
                continue
            if (self._may_switch and sequence in _MODES) or sequence == _LINE:
                continue
            if (colours := _COLOURS.fullmatch(sequence)) and _are_colours(colours[1]):
                self._good_colours.add(sequence)
            elif place := _PLACE.fullmatch(sequence):
                if not (0 < int(place[1]) <= self._lines and 0 < int(place[2]) <= self._columns):
                    self._complain(sequence, len(sequence))
                yield b"\n"
            elif copy := _COPY.fullmatch(sequence):
                self._take_copy(sequence, copy[1])
            elif not _POINTER.fullmatch(sequence):
                self._complain(data[found.start() : found.start() + _EXCERPT], len(sequence))
        yield self._text(data[at:])

    def _text(self, text: bytes) -> bytes:
        for bad in _BAD_TEXT.finditer(text):
            self._complain(text[max(0, bad.start() - 8) : bad.start() + _EXCERPT], len(bad.group()))
        try:
            text.decode()
        except UnicodeDecodeError as error:
            if not _BAD_TEXT.search(text):
                self._complain(text[error.start : error.start + _EXCERPT], error.end - error.start)
        return text

    def _take_copy(self, sequence: bytes, data: bytes) -> None:
        try:
            self.copies.append(base64.b64decode(data, validate=True))
        except binascii.Error:
            self._complain(sequence[:_EXCERPT], len(sequence))

    def _complain(self, excerpt: bytes, count: int) -> None:
        self.foreign[excerpt] += 1
        self.foreign_bytes += count


def foreign_in_lines(data: bytes) -> Counter[bytes]:
    """What must not be in the output of a command that writes lines: all but text, tabs and, at most, colours."""
    text = _COLOURS.sub(lambda found: b"" if _are_colours(found[1]) else found[0], data)
    text = text.replace(_LINE, b" ").replace(b"\t", b" ")
    return Counter(text[max(0, bad.start() - 8) : bad.start() + _EXCERPT] for bad in _BAD_TEXT.finditer(text))


def _are_colours(parameters: bytes) -> bool:
    """Bold, dim, italic, underlined, reversed, struck, and colours of 24 bits: nothing that blinks or hides."""
    rest = _COLOUR.sub(b"1", parameters)
    return all(one in _FLAGS for one in rest.split(b";"))


def _end_of_complete(data: bytes) -> int:
    """Where a sequence or a character begins that may go on in the next bytes."""
    begun = _BEGUN.search(data, max(0, data.rfind(b"\x1b") - 2))
    if begun is not None:
        return begun.start()
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) - back if length > back else len(data)
        if byte < 0x80:
            break
    return len(data)
