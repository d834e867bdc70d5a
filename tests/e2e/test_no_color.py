"""NO_COLOR, by the bytes on a pseudo-terminal."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from localqwen import paths
from tests.e2e.terminal import Terminal
from tests.tui.scripted_server import scripted_server

ANSWER = "See:\n\n```python\nprint('x')  # y\n```\n\n> A [link](https://example.org) and `code`.\n"
RENDITION = re.compile(rb"\x1b\[([0-9;:]*)m")


def colours(output: bytes) -> Iterator[str]:
    """The parameters of SGR sequences that choose a colour (ECMA-48, 8.3.117); 39 and 49 choose the default one."""
    for sequence in RENDITION.finditer(output):
        for parameter in re.split("[;:]", sequence[1].decode()):
            if parameter and (30 <= int(parameter) <= 48 or 90 <= int(parameter) <= 107) and parameter != "39":
                yield sequence[0].decode()


@pytest.mark.parametrize("no_color", [True, False])
def test_without_colours_no_colour_is_written(home: Path, *, no_color: bool) -> None:
    settings = paths.settings_path()
    settings.parent.mkdir(parents=True)
    settings.write_text('[view]\ntheme = "nord"\n')
    env = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    env |= {"LOCALQWEN_HOME": str(home), **({"NO_COLOR": "1"} if no_color else {})}
    with scripted_server(ANSWER) as server:
        command = ["-m", "localqwen", "chat", "--endpoint", server.url]
        with Terminal(sys.executable, command, env) as terminal:
            terminal.until_shown("Ask anything", "ready")
            terminal.type("Show me code.\r")
            terminal.until_shown("print('x')", "A link", "Enter sends")
            if no_color:
                terminal.type("\x14")  # Ctrl+T
                terminal.until_shown("NO_COLOR is set")
            for key, title in (("\x1b[19~", "Settings"), ("\x1bOQ", "Plan"), ("\x1b[20~", "Models")):
                terminal.type(key)
                terminal.until_shown(title)
                terminal.type("\x1b")
                terminal.until_shown("Ask anything", "ready")
            terminal.type("\x11")
            assert terminal.wait() == 0
    assert bool(list(colours(terminal.output))) is not no_color
    assert settings.read_text() == '[view]\ntheme = "nord"\n'
