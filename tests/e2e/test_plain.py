"""The plain chat in a real pseudo-terminal, byte for byte."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect
import pytest

from localqwen import paths
from localqwen.chats.store import Store
from tests.tui.scripted_server import ScriptedServer, scripted_server

ARROWS = "\N{SYMBOL FOR ESCAPE}"


@contextmanager
def chat(home: Path, server: ScriptedServer, *arguments: str, term: str = "xterm") -> Iterator[Any]:
    """A chat whose output is ``.log``, all bytes that it ever wrote."""
    env = {**os.environ, "LOCALQWEN_HOME": str(home), "TERM": term, "LANG": "C.UTF-8"}
    command = ["-m", "localqwen", "chat", "--endpoint", server.url, *arguments]
    child: Any = pexpect.spawn(sys.executable, command, env=env, timeout=60, echo=False)
    child.log = bytearray()

    class Log:
        def write(self, data: bytes) -> None:
            child.log.extend(data)

        def flush(self) -> None:
            """Nothing waits."""

    child.logfile_read = Log()
    try:
        yield child
    finally:
        child.close(force=True)


def ends(child: Any) -> int:
    child.expect(pexpect.EOF)
    child.wait()
    return int(child.exitstatus)


@pytest.mark.parametrize(("arguments", "term"), [(["--plain"], "xterm-256color"), ([], "dumb")])
def test_a_talk_in_lines(home: Path, arguments: list[str], term: str) -> None:
    evil = "Red \x1b[31malert\x07 \x9b2J. And\u202e so on.\n"
    with (
        scripted_server("It is Tokyo. A large city.", evil) as server,
        chat(home, server, *arguments, term=term) as child,
    ):
        child.expect_exact(f"What you type goes to {server.url}.\r\nYou: ")
        child.sendline("What is the capital of Japan?")
        child.expect_exact("script: It is Tokyo. A large city.\r\nYou: ")
        child.sendline("And \\")
        child.expect_exact("... ")
        child.sendline("the news?")
        child.expect_exact("so on.\r\nYou: ")
        child.sendline("/quit")
        assert ends(child) == 0
        assert server.asked[1][-1]["content"] == "And \nthe news?"
        written = bytes(child.log)
    # No escape sequence, no cursor movement, no alternate screen, no bell; nothing that draws over a line.
    assert not set(written).intersection({*range(0x20), 0x7F}.difference(b"\r\n\t"))
    assert written.replace(b"\r\n", b"").count(b"\r") == 0
    text = written.decode()
    assert f"Red {ARROWS}[31malert" in text
    assert "\u202e" not in text
    assert "\x9b" not in text
    store = Store(paths.chats_path())
    assert store.chats()[0].title == "What is the capital of Japan?"
    store.close()


def test_ctrl_c_stops_the_answer_and_then_leaves(home: Path) -> None:
    with scripted_server("Once upon a time. And then…", "Later.") as server, chat(home, server, "--plain") as child:
        child.expect_exact("You: ")
        child.sendline("Tell me a story.")
        child.expect_exact("script: Once upon a time. ")
        child.kill(signal.SIGINT)
        child.expect_exact("Stopped; /continue goes on with it.\r\nYou: ")
        child.sendline("/regenerate")
        child.expect_exact("script: Later.\r\nYou: ")
        child.kill(signal.SIGINT)
        child.expect_exact("Ctrl+C again, or /quit, leaves.\r\nYou: ")
        child.kill(signal.SIGINT)
        assert ends(child) == 0


def test_ctrl_d_leaves(home: Path) -> None:
    with scripted_server() as server, chat(home, server, "--plain") as child:
        child.expect_exact("You: ")
        child.sendeof()
        assert ends(child) == 0


def test_a_line_that_the_terminal_cuts_is_not_sent(home: Path) -> None:
    with scripted_server("Yes.") as server, chat(home, server, "--plain") as child:
        child.expect_exact("You: ")
        child.sendline("x" * 4090)
        child.expect_exact("script: Yes.\r\nYou: ")
        child.sendline("y" * 6000)
        child.expect_exact("longer than the 4095 bytes")
        child.expect_exact("You: ")
        child.sendline("/quit")
        assert ends(child) == 0
        assert [asked[-1]["content"] for asked in server.asked] == ["x" * 4090]


def test_a_temporary_chat_leaves_nothing(home: Path) -> None:
    with scripted_server("Yes.") as server, chat(home, server, "--plain", "--temporary") as child:
        child.expect_exact("You: ")
        child.sendline("A secret?")
        child.expect_exact("script: Yes.\r\nYou: ")
        child.sendline("/quit")
        assert ends(child) == 0
    assert not any(b"A secret?" in path.read_bytes() for path in home.rglob("*") if path.is_file())


def test_settings_count_and_bad_ones_are_said(home: Path) -> None:
    path = paths.settings_path()
    path.parent.mkdir(parents=True)
    path.write_text('[view]\nplain = true\n[chat]\nsystem_prompt = "Be brief."\n[sampling]\nseed = "x"\n')
    with scripted_server("Yes.") as server, chat(home, server) as child:
        child.expect_exact("line 6: seed must be a whole number")
        child.expect_exact("You: ")
        child.sendline("Well?")
        child.expect_exact("script: Yes.")
        assert server.asked[0][0] == {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize(
    ("arguments", "words"), [(("--port", "9"), "--port is for --web"), (("--web", "--plain"), "leave --plain out")]
)
def test_wrong_usage_is_one_sentence(home: Path, arguments: tuple[str, ...], words: str) -> None:
    with scripted_server() as server, chat(home, server, *arguments) as child:
        child.expect_exact(words)
        assert ends(child) == 2
