"""What a terminal must not get of foreign text, and what it gets in its place. Pure; the one list of it.

A model's words, names of files and of models, a GGUF's fields and all errors that repeat them are foreign: any of them
may hold escape sequences that move the cursor, fill the clipboard or switch a terminal's modes. Commands print what
:func:`shown` makes of them, and the chat's :mod:`tui.sanitize` makes its typed text of it.
"""

from __future__ import annotations

import re

# C0 becomes the picture of its name (ESC shows as ␛), so that a reader sees what was tried.
PICTURES: dict[int, str] = {code: chr(0x2400 + code) for code in range(0x20)}
PICTURES[0x7F] = "␡"
# C1: terminals that know 8-bit controls read 0x9B as CSI.
PICTURES.update(dict.fromkeys(range(0x80, 0xA0), "\N{REPLACEMENT CHARACTER}"))
# Lone surrogates cannot be written as UTF-8.
PICTURES.update(dict.fromkeys(range(0xD800, 0xE000), "\N{REPLACEMENT CHARACTER}"))
# Bidirectional embeddings, overrides and isolates make text look like other text. Taken out, what is left shows in
# its true order; Arabic and Hebrew need none of them, and the marks U+200E and U+200F may stay.
PICTURES.update(dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), ""))
# Line and paragraph separators break lines in some terminals; interlinear annotations hide text.
PICTURES.update({0x2028: " ", 0x2029: " ", 0xFFF9: "", 0xFFFA: "", 0xFFFB: ""})

# The characters of the table as ranges: one by one they take milliseconds to compile, at each start.
BEYOND_C0 = "\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufff9-\ufffb"
_SHOWN = {code: char for code, char in PICTURES.items() if code not in (0x09, 0x0A)}
_DIRTY = re.compile(rf"[\x00-\x08\x0b-\x1f{BEYOND_C0}]")


def shown(text: str) -> str:
    """Foreign text of any number of lines: only newlines and tabs stay of the controls. ``\\r\\n`` is a newline."""
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    return text.translate(_SHOWN) if _DIRTY.search(text) else text


def shown_line(text: str) -> str:
    """Foreign text for one line: a title, a name, an error. Every run of white space is one space."""
    return " ".join(shown(text).split())


def stripped(text: str) -> str:
    """Foreign text without what :func:`shown` replaces: for text that comes in pieces, cut anywhere."""
    return _DIRTY.sub("", text)
