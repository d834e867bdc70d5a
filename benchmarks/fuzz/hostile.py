"""Strings as a hostile model, file name or server sends them, with a mark in each by which it is found again. Pure.

No sequence here is one that the chat itself makes: colours blink, cursors go beyond every screen, and so on. Whatever
of it reaches a terminal is therefore seen by :mod:`benchmarks.fuzz.grammar`.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable
from typing import TypeAlias

Kind: TypeAlias = Callable[[random.Random], str]

# What stands in each string: two characters that say where it went in, and its number.
MARK = re.compile(rb"Z([0-9A-Z]{2})([0-9A-Z]{4})Q")
MARKS = 36**4
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_ESC, _CSI, _ST, _OSC, _DCS, _BEL = "\x1b", "\x9b", "\x9c", "\x9d", "\x90", "\x07"
_PARAMETERS = (
    "6666;6666H", "5;31m", "8;53m", "2J", "3J", "?1049h", "?1049l", "?1000h", "?1003h", "?1006h", "?25h", "?2026h",
    "?2004l", "?7l", "6n", "c", ">0q", "21t", "8;9;9t", "!p", "4;6666r", "66A", "666X", "<u", ">25u", "31",
)  # fmt: skip
_COMMANDS = (
    "0;owned", "2;owned", "8;;http://evil.example/", "52;c;ZXZpbA==", "52;p;!", "4;1;rgb:f/f/f", "10;#f0f", "11;?",
    "1337;File=inline=1:AA==", "777;notify;a;b", "9;4;1;50", "22;wait", "133;A", "666",
)  # fmt: skip
_STRINGS = ("tmux;\x1b\x1b]52;c;ZXZpbA==\x07", '$q"p', "Ga=T;AAAA", "+q544e")
_FINALS = ("c", "7", "8", "D", "M", "E", "H", "Z", "N", "O", "=", ">", "(0", ")B", "#8", "%G", " F", "\\", "")
_BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_HIDDEN = "\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u00ad\ufeff\u180e\ufe0f\U000e0041\U000e007f\u034f"
_LINES = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"
_MARKUP = (
    "[b]", "[/]", "[/b]", "[blink]", "[on red]", "[@click=app.quit]x[/]", "[link=http://evil.example]x[/link]",
    "[$error 50%]", "\\[b]", "[[b]]", "[", "]", "[/", "[red", ":skull:", "[not bold]", "[#ff0000]",
)  # fmt: skip
_ENTITIES = (
    "&#27;[2J", "&#x1b;]0;owned&#7;", "&#155;2J", "&#x9b;5m", "&#x202e;", "&#8238;", "&#xd800;", "&#0;", "&NewLine;",
    "&Tab;", "&ZeroWidthSpace;", "&#x2066;", "&#xfff9;", "&#127;", "&#x7f;", "&#133;", "&lrm;", "&#x2028;",
)  # fmt: skip
_PERCENT = ("%1b%5b2J", "%9b2J", "%C2%9B2J", "%E2%80%AE", "%07", "%0d%0a", "%00", "%ed%a0%80", "%1b]52;c;ZXZpbA==%07")
_MARKDOWN = (
    "**", "*x*", "__", "~~x~~", "`", "``", "\n```\x1b]0;x\x07\n", "\n```\n", "\n~~~py\n", "\n# ", "\n> ", "\n- ",
    "\n1. ", "\n999999999) ", "\n---\n", "\n| a | b |\n|---|:-:|\n| ", " | ", "<script>", "<!-- ", "<http://x/\x1b>",
    "![i](%1b[2J)", "[x](<http://x/\x9b2J>)", "[x]: http://x/\x1b 't'", "[x][x]", "\\\x1b", "\n    ", "\t", "  \n",
)  # fmt: skip
_WORDS = (
    "a",
    "word",
    "the answer",
    "Zürich",
    "数学",
    "日本語",
    "مرحبا",
    "שלום",
    "नमस्ते",
    "👩‍👩‍👧",
    "🏳️‍🌈",
    "e\u0301",
    "ﬁ",
    "𝒳",
)


def mark(source: str, number: int) -> str:
    """The mark of the ``number``-th string that goes in at ``source`` (two of the digits and capital letters)."""
    digits = ""
    for _ in range(4):
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return f"Z{source}{digits}Q"


def _pick(*texts: str) -> Kind:
    return lambda chance: chance.choice(texts)


def _joined(*kinds: Kind) -> Kind:
    return lambda chance: "".join(kind(chance) for kind in kinds)


_KINDS: tuple[Kind, ...] = (
    lambda chance: chr(chance.randrange(0x20)),
    lambda chance: chr(chance.randrange(0x7F, 0xA0)),
    _joined(_pick(_ESC + "["), _pick(*_PARAMETERS)),
    _joined(_pick(_CSI), _pick(*_PARAMETERS)),
    _joined(_pick(_ESC + "]"), _pick(*_COMMANDS), _pick(_BEL, _ESC + "\\", _ST, "")),
    _joined(_pick(_OSC), _pick(*_COMMANDS), _pick(_BEL, _ST, "")),
    _joined(_pick(*(_ESC + kind for kind in "P_^X")), _pick(*_STRINGS), _pick(_ESC + "\\", "")),
    _joined(_pick(_DCS, "\x98", "\x9e", "\x9f"), _pick("666"), _pick(_ST, "")),
    _joined(_pick(_ESC), _pick(*_FINALS)),
    _joined(_pick(*_BIDI), _pick("txt.exe", "", "abc"), _pick(*_BIDI)),
    lambda chance: chance.choice(_HIDDEN) * chance.randrange(1, 4) + chance.choice(_LINES),
    _pick(*_MARKUP),
    _pick(*_ENTITIES),
    _pick(*_PERCENT),
    _pick(*_MARKDOWN),
    _pick("\ud800", "\udc9b", "\udfff", "\r", "\r\n", "\x1b\x1b", "\ufff9a\ufffab\ufffb", "\u0300" * 30),
)


def fragment(chance: random.Random) -> str:
    """One hostile thing."""
    return chance.choice(_KINDS)(chance)


def string(chance: random.Random, tag: str) -> str:
    """A hostile string around its mark; one in four thousand is very long."""
    pieces = [fragment(chance) for _ in range(chance.randrange(1, 4))]
    if chance.random() < 0.3:
        pieces.append(chance.choice(_WORDS))
    chance.shuffle(pieces)
    if chance.random() < 0.000_25:
        pieces.append(chance.choice(("A" * 3000, "\x1b[5m" * 500, "\u202e" * 1000, "[b]" * 800, "*_" * 800)))
    return tag + pieces[0] + chance.choice(("", " ")) + "".join(pieces[1:])


def line(chance: random.Random, tag: str) -> str:
    """As :func:`string`, without what begins another line: for titles and names."""
    return string(chance, tag).replace("\n", "\v").replace("\r", "\x85")


def is_control(char: str) -> bool:
    """Whether ``char`` is one of C0, DEL or C1, but for newlines and tabs; by its Unicode category."""
    return unicodedata.category(char) == "Cc" and char not in "\n\t"


def without_controls(text: str) -> str:
    """What a copy of ``text`` must be; written apart from the app's own, to compare them."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    # A lone surrogate is no character, and cannot be written.
    return "".join("?" if "\ud800" <= char <= "\udfff" else char for char in text if not is_control(char))


def strings(chance: random.Random, source: str, numbers: range, *, one_line: bool = False) -> list[str]:
    """A string for each of these numbers, marked as one of ``source``."""
    make = line if one_line else string
    return [make(chance, mark(source, number)) for number in numbers]
