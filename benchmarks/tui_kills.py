"""`kill -9` of the chat, of its server, or of both, at random moments of an answer; what is on the disk afterwards.

    PYTHONPATH=. python -m benchmarks.tui_kills [--kills 300] [--seed 0]

The whole app runs on a pseudo-terminal, over a server in a process of its own whose words are the times at which they
are sent: so the last word on the disk says how much was lost. Meanwhile a draft is typed. A third of the kills is for
each kind. After each the file is checked and the app started again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

from benchmarks.machine import description
from localqwen.chats.store import Store
from tests.e2e.terminal import Terminal

Kind = Literal["chat", "server", "both"]
KINDS: tuple[Kind, ...] = ("chat", "server", "both")
ROOT = Path(__file__).parent.parent
PROMISED_MS = 250
WORD_SECONDS = 0.01
LONGEST_SECONDS = 1.5  # after the first word


class Words(BaseHTTPRequestHandler):
    """Answers with the milliseconds of the monotonic clock, which all processes share, for ever."""

    def do_GET(self) -> None:
        """The models."""
        self._begin("application/json")
        self.wfile.write(json.dumps({"data": [{"id": "clock", "max_model_len": 1 << 20}]}).encode())

    def do_POST(self) -> None:
        """The time, a hundred times a second."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self._begin("text/event-stream")
        try:
            while True:
                chunk = {"choices": [{"index": 0, "delta": {"content": f"{time.monotonic_ns() // 1_000_000} "}}]}
                self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
                time.sleep(WORD_SECONDS)
        except OSError:  # the reader has left
            return

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _begin(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()


@dataclass(frozen=True, slots=True)
class Trial:
    """One kill: milliseconds of text lost, whether the file is sound, the draft back, and the app in its senses."""

    kind: Kind
    lost: float
    is_sound: bool
    has_draft: bool
    goes_on: bool


def start_server(port: int) -> subprocess.Popen[bytes]:
    """The clock, listening."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.tui_kills", "--serve", str(port)], cwd=ROOT)
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return process


def start_chat(home: Path, port: int) -> Terminal:
    """The app, with a composer that takes keys."""
    environment = {**os.environ, "LOCALQWEN_HOME": str(home)}
    url = f"http://127.0.0.1:{port}"
    terminal = Terminal(sys.executable, ["-m", "localqwen", "chat", "--endpoint", url], environment)
    terminal.until_shown("Ask anything")
    return terminal


def promised(terminal: Terminal, _home: Path, _draft: str) -> None:
    """Wait as long as it may take until a draft is kept."""
    pause(terminal, PROMISED_MS / 1000)


def pause(terminal: Terminal, seconds: float) -> None:
    """Let time pass, while the app can draw."""
    end = time.monotonic() + seconds
    terminal.until(lambda _: time.monotonic() >= end)


def trial(
    kind: Kind,
    home: Path,
    port: int,
    chance: random.Random,
    number: int,
    until_kept: Callable[[Terminal, Path, str], None] = promised,
) -> Trial:
    """Ask, type a draft, wait until it must be kept, kill at a random moment, and look."""
    server = start_server(port)
    draft = f"draft {number}"
    try:
        with start_chat(home, port) as terminal:
            terminal.type(f"question {number}\r")
            terminal.until_shown("Esc stops")
            terminal.until(lambda screen: screen.count(str(time.monotonic_ns() // 10**10)) > 1)
            terminal.type(draft)
            terminal.until_shown(draft)
            until_kept(terminal, home, draft)
            pause(terminal, chance.uniform(0, LONGEST_SECONDS))
            for pid in {"chat": [terminal.pid], "server": [server.pid], "both": [server.pid, terminal.pid]}[kind]:
                os.kill(pid, signal.SIGKILL)
            killed = time.monotonic_ns() / 1e6
            goes_on = True
            if kind == "server":
                # The app lives, says what has happened, and keeps what has arrived.
                terminal.until_shown("✗", draft, seconds=30)
                terminal.type("\x11")
                goes_on = terminal.wait() == 0
        lost, is_sound, has_draft = look(home, draft, killed)
        with start_chat(home, port) as again:
            again.until_shown(f"question {number}")
            again.type("\x11")
            goes_on = goes_on and again.wait() == 0
        return Trial(kind, lost, is_sound, has_draft, goes_on)
    finally:
        server.kill()
        server.wait()


def look(home: Path, draft: str, killed: float) -> tuple[float, bool, bool]:
    """What the file says: milliseconds of text lost, whether it is sound, and whether the draft is there."""
    path = next(home.rglob("chats.sqlite3"))
    with sqlite3.connect(path) as connection:
        is_sound = connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    store = Store(path)  # it mends what a dead process left open
    try:
        chat = store.chats()[0]
        answer = store.tree(chat.id).path(chat.tip)[-1]
        has_draft = store.chat(chat.id).draft == draft
    finally:
        store.close()
    words = answer.text.split()
    whole = [int(word) for word in words if len(word) == len(words[0])]
    return killed - whole[-1], is_sound and answer.state in {"stopped", "error"}, has_draft


def run(kills: int, seed: int) -> None:
    """All of them, and the table."""
    chance = random.Random(seed)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    trials = []
    for number in range(kills):
        with tempfile.TemporaryDirectory() as home:
            trials.append(trial(KINDS[number % len(KINDS)], Path(home), port, chance, number))
    print(f"{description()}, {kills} kills, seed {seed}; goal: at most {PROMISED_MS} ms of text lost, nothing else\n")
    print("| killed | times | text lost, median | longest | files sound | drafts back | usable afterwards |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for kind in KINDS:
        rows = [one for one in trials if one.kind == kind]
        lost = sorted(one.lost for one in rows)
        counts = [sum(getattr(one, name) for one in rows) for name in ("is_sound", "has_draft", "goes_on")]
        print(
            f"| {kind} | {len(rows)} | {lost[len(lost) // 2]:.0f} ms | {lost[-1]:.0f} ms |"
            f" {' | '.join(map(str, counts))} |"
        )


def main() -> None:
    """Run it, or be the server."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        ThreadingHTTPServer(("127.0.0.1", arguments.serve), Words).serve_forever()
    else:
        run(arguments.kills, arguments.seed)


if __name__ == "__main__":
    main()
