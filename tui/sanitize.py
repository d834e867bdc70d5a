"""The one boundary between foreign text and the terminal.

Model text, history, titles, file names, fields of a model and errors are all foreign: any of them may hold escape
sequences that move the cursor, fill the clipboard or switch terminal modes, and Textual passes most of them through.
Widgets take :data:`SafeText`, so that a type checker finds a forgotten path. Only the functions here make it of other
text; elsewhere it is what stands in the source, literally (which a test holds, and that Textual's own widgets, which
take any text, get no other). What is dangerous is listed in :mod:`localqwen.sanitize`, for all commands.
"""

from __future__ import annotations

import re
from typing import NewType

from localqwen.sanitize import BEYOND_C0, PICTURES, shown, shown_line

SafeText = NewType("SafeText", str)

# In UTF-8 a byte below 0x80 is that character and nothing else, and 0xC2 begins every C1 control.
_C0_BYTES = bytes(code for code in (*range(0x20), 0x7F) if code not in (0x09, 0x0A))
_C1_BYTES = re.compile(rb"\xc2[\x80-\x9f]")
_DIRTY_CELL = re.compile(rf"[\x00-\x1f{BEYOND_C0}\ufdd0-\ufdef\ufffe\uffff\U0001fffe\U0001ffff]")
# Noncharacters, which Unicode keeps for use inside of programs, stand for controls where the original is wanted again.
_STAND_INS: dict[int, int] = {code: 0xFDD0 + code for code in range(0x20) if code not in (0x09, 0x0A)}
_STAND_INS |= {0x7F: 0xFFFE, 0x2028: 0x1FFFE, 0x2029: 0x1FFFF} | dict.fromkeys(range(0x80, 0xA0), 0xFFFF)
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_STANDING_IN = re.compile("[\ufdd0-\ufdef\ufffe\uffff\U0001fffe\U0001ffff]")
_ORIGINALS = dict.fromkeys(_STAND_INS.values(), "") | {0xFDD0 + 0x0D: "\n", 0x1FFFE: "\u2028", 0x1FFFF: "\u2029"}
# One character for one: a laid-out line must keep its length. Nothing to see is the word joiner, of width zero.
_CELL = {code: char or "\N{WORD JOINER}" for code, char in PICTURES.items()} | {0x09: " ", 0x0A: " "}
_CELL |= {stand_in: _CELL[code] for code, stand_in in _STAND_INS.items()}


def safe(text: str) -> SafeText:
    """Foreign text of any number of lines: only newlines and tabs stay of the controls. ``\\r\\n`` is a newline."""
    return SafeText(shown(text))


def safe_line(text: str) -> SafeText:
    """Foreign text for one line: a title, a name, an error. Every run of white space is one space."""
    return SafeText(shown_line(text))


def without_controls(text: str) -> str:
    """What is kept, sent and copied: the original less its controls, with ``\\n`` as the only line ending.

    It is not fit for a widget: bidirectional marks are still in it. Bytes, because a paste may have millions of them.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    data = text.encode("utf-8", "replace").translate(None, _C0_BYTES)
    if b"\xc2" in data:
        data = _C1_BYTES.sub(b"", data)
    return data.decode("utf-8")


def inert(text: str) -> str:
    """Foreign text that can be parsed and laid out, and from which :func:`original` makes what was written.

    Each control is one character that does nothing and is as wide as what :func:`safe_cells` shows for it.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    return text.translate(_STAND_INS) if _CONTROLS.search(text) else text


def original(text: str) -> str:
    """What was written where :func:`inert` text is shown, less its controls: what is copied."""
    if _STANDING_IN.search(text):
        text = text.translate(_ORIGINALS)
    return without_controls(text)


def safe_cells(text: str) -> SafeText:
    """The last look at a line that is laid out, whose length must not change.

    Markdown can make characters that its source did not hold (``&#x202e;``, ``%1b`` in a link), hence a second look.
    """
    return SafeText(text.translate(_CELL) if _DIRTY_CELL.search(text) else text)
