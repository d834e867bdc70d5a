"""Copying: the desktop's own clipboard where there is one, else the terminal's through OSC 52."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from textual.app import App

from localqwen.errors import LocalqwenError
from tui.byte_size import human_size
from tui.sanitize import without_controls

TIMEOUT_SECONDS = 2.0
# Terminals drop what is longer without a word; this is the shortest limit among the common ones.
LONGEST_OSC_52 = 74_994


class ClipboardError(LocalqwenError):
    """Nothing was copied; its text is a sentence for the person."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A program that takes the clipboard's new text on its standard input."""

    command: tuple[str, ...]
    variable: str | None = None
    """The environment variable without which it cannot work."""
    encoding: str = "utf-8"


TOOLS = (
    Tool(("wl-copy",), "WAYLAND_DISPLAY"),
    Tool(("xclip", "-selection", "clipboard"), "DISPLAY"),
    Tool(("xsel", "--clipboard", "--input"), "DISPLAY"),
    Tool(("pbcopy",)),
    # In Windows' own encoding letters beyond ASCII would get lost.
    Tool(("clip.exe",), encoding="utf-16"),
)


def usable_tools(environ: Mapping[str, str] = os.environ) -> list[Tool]:
    """The tools that are installed and have their session, best first."""
    path = environ.get("PATH")
    return [
        tool
        for tool in TOOLS
        if (tool.variable is None or environ.get(tool.variable)) and shutil.which(tool.command[0], path=path)
    ]


def osc_52(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """The escape sequence that fills the terminal's clipboard.

    Raises:
        ClipboardError: the text is longer than terminals take.
    """
    data = text.encode("utf-8")
    if len(data) > LONGEST_OSC_52:
        raise ClipboardError(
            f"{human_size(len(data))} is too much for the terminal's clipboard, which takes "
            f"{human_size(LONGEST_OSC_52)}: {_advice()}, or save it to a file."
        )
    sequence = f"\x1b]52;c;{base64.b64encode(data).decode('ascii')}\x07"
    if not environ.get("TMUX"):
        return sequence
    # tmux takes the plain one when `set-clipboard` is on, and hands the wrapped one on when `allow-passthrough` is.
    return sequence + "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"


async def copy(app: App[Any], text: str) -> str:
    """Copy ``text`` less its controls, and return the way it went: ``"wl-copy"``, ``"the terminal"``, …

    The terminal never says whether it took it, so a caller should name it.

    Raises:
        ClipboardError: no way worked.
    """
    text = without_controls(text)
    for tool in usable_tools():
        if await asyncio.to_thread(_put, tool, text):
            return tool.command[0]
    write_to_terminal(app, osc_52(text))
    return "the terminal"


def write_to_terminal(app: App[Any], sequence: str) -> None:
    """Write an escape sequence of our own; where the app has no terminal, nothing.

    Raises:
        ClipboardError: the app has no terminal.
    """
    # Textual writes only the plain OSC 52 by itself, and has no public way to write another sequence.
    write: Callable[[str], None] | None = getattr(app._driver, "write", None)
    if write is None:
        raise ClipboardError("There is no terminal whose clipboard could be filled.")
    write(sequence)


def _put(tool: Tool, text: str) -> bool:
    try:
        # Some stay in the background to hand the text out: they must outlive this terminal and hold none of our pipes.
        done = subprocess.run(
            tool.command,
            input=text.encode(tool.encoding),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT_SECONDS,
            start_new_session=True,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _advice() -> str:
    if sys.platform == "darwin":
        return "copy less"
    return "install wl-copy" if os.environ.get("WAYLAND_DISPLAY") else "install xclip"
