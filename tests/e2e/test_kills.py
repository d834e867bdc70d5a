"""``kill -9`` of real programs while an answer streams and a draft is typed.

How many milliseconds of text are lost depends on how busy the machine is, so ``benchmarks/tui_kills.py`` measures that.
"""

from __future__ import annotations

import random
import signal
import sqlite3
from pathlib import Path

import psutil
import pytest

from benchmarks.tui_kills import Kind, Moment, Scene
from localqwen import paths
from localqwen.chats.store import Store
from tests.e2e.terminal import Terminal
from tests.e2e.test_chat import answers, start
from tests.tui.test_web import free_port

SECONDS = 120
DRAFT = "a thought that was not sent"


def kept_draft(home: Path) -> str:
    with sqlite3.connect(next(home.rglob("chats.sqlite3"))) as connection:
        row = connection.execute("SELECT draft FROM chat ORDER BY id DESC").fetchone()
    return str(row[0]) if row is not None else ""


def until_on_disk(terminal: Terminal, home: Path, draft: str) -> None:
    terminal.until(lambda _: kept_draft(home) == draft)


@pytest.mark.parametrize(
    ("kind", "moment"),
    [
        ("chat", "answering"),
        ("server", "answering"),
        ("both", "answering"),
        ("chat", "starting"),
        ("server", "starting"),
        ("both", "sending"),
        ("both", "waiting"),
        ("chat", "idle"),
    ],
)
def test_at_any_moment_the_file_stays_sound_and_the_draft_comes_back(
    kind: Kind, moment: Moment, tmp_path: Path
) -> None:
    result = Scene(tmp_path, free_port(), random.Random(kind), 1, until_on_disk).play(kind, moment)
    assert result.is_sound
    assert result.has_draft
    assert result.goes_on


def test_the_chat_and_its_own_server_start_again_where_both_were_killed(demo_home: Path) -> None:
    with start(demo_home, "chat", "demo") as terminal:
        terminal.until_shown("Ask anything")
        terminal.type("Tell me a very long story about a fox.\r")
        terminal.until_shown("answering", "tok/s", seconds=SECONDS)
        terminal.type(DRAFT)
        until_on_disk(terminal, demo_home, DRAFT)
        other = Store(paths.chats_path())
        terminal.until(lambda _: len(answers(other)[0]) > 20)
        kept = answers(other)[0]
        for process in [*psutil.Process(terminal.pid).children(recursive=True), psutil.Process(terminal.pid)]:
            process.kill()
        assert terminal.wait() == -signal.SIGKILL
        other.close()

    with start(demo_home, "chat", "demo") as terminal:
        terminal.until_shown("Tell me a very long", "ready", seconds=SECONDS)
        terminal.type("\x0c")
        terminal.until_shown("Enter opens")
        terminal.type("\r")
        terminal.until_shown("■ stopped", DRAFT)
        terminal.type("\x15What is the capital of Japan?\r")
        terminal.until_shown("Tokyo", "Enter sends", seconds=SECONDS)
        terminal.type("\x11")
        assert terminal.wait() == 0

    store = Store(paths.chats_path())
    assert answers(store)[0].startswith(kept)
    (chat,) = store.chats()
    states = [message.state for message in store.tree(chat.id).path(chat.tip)]
    assert states == ["done", "stopped", "done", "done"]
    store.close()
