"""`kill -9` of the chat, of its server, or of both, at random moments of its life; what is on the disk afterwards.

    PYTHONPATH=. python -m benchmarks.tui_kills [--kills 300] [--seed 0]

The whole app runs on a pseudo-terminal, over a server in a process of its own whose words are the times at which they
are sent: so the last word on the disk says how much was lost. Keys are typed at known times as well. The kills are
shared among the three kinds, and among the moments: from exec on, while a draft is typed, behind Enter, while the
model keeps the question waiting, in the middle of an answer, after it, and while the demo model is loaded by a server
of our own. At each but the first ones a draft lies there. After each the file is checked and the app started again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import sqlite3
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from pathlib import Path
from typing import Literal

import psutil

from benchmarks.machine import ROOT, description
from localqwen.chats.session import Conversation
from localqwen.chats.store import Store
from localqwen.chats.tree import Message
from tests.e2e.terminal import Terminal
from tests.fixtures import demo_gguf

Kind = Literal["chat", "server", "both"]
Moment = Literal["starting", "typing", "sending", "waiting", "answering", "idle", "loading"]
KINDS: tuple[Kind, ...] = ("chat", "server", "both")
MOMENTS: tuple[Moment, ...] = ("starting", "typing", "sending", "waiting", "answering", "idle", "loading")
PROMISED_MS = 250
WORD_SECONDS = 0.01
# How long after its beginning a moment is killed at the latest.
LONGEST_SECONDS: dict[Moment, float] = {
    "starting": 1.0,  # from exec
    "typing": 1.0,
    "sending": 0.15,  # behind Enter
    "waiting": 1.0,
    "answering": 1.5,  # after the first word
    "idle": 1.0,
    "loading": 2.0,  # after the first frame
}
KEY_SECONDS = 0.02
HOLD, SHORT = "hold", "short"  # what the question asks of the server
SHORT_WORDS = 20
READY_SECONDS = 30.0


class Words(BaseHTTPRequestHandler):
    """Answers with the milliseconds of the monotonic clock, which all processes share, for ever."""

    def do_GET(self) -> None:
        """The models."""
        self._begin("application/json")
        self.wfile.write(json.dumps({"data": [{"id": "clock", "max_model_len": 1 << 20}]}).encode())

    def do_POST(self) -> None:
        """The time, a hundred times a second; not at all, or a few words only, where the question says so."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/chat/completions":
            self.send_error(404)
            return
        asked = str(body["messages"][-1]["content"])
        self._begin("text/event-stream")
        with suppress(OSError):  # the reader has left
            if asked.endswith(HOLD):
                time.sleep(READY_SECONDS)
            number = 0
            while not (asked.endswith(SHORT) and number == SHORT_WORDS):
                self._send({"delta": {"content": f"{now_ms():.0f} "}})
                number += 1
                time.sleep(WORD_SECONDS)
            self._send({"delta": {}, "finish_reason": "stop"})
            self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _send(self, choice: dict[str, object]) -> None:
        self.wfile.write(f"data: {json.dumps({'choices': [{'index': 0, **choice}]})}\n\n".encode())

    def _begin(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()


@dataclass(frozen=True, slots=True)
class Trial:
    """One kill: milliseconds of text lost, whether the file is sound, the draft back, and the app in its senses."""

    kind: Kind
    moment: Moment
    lost: float
    is_sound: bool
    has_draft: bool
    goes_on: bool


@dataclass(slots=True)
class Typed:
    """What a person has done before the kill: a question that was sent, and a draft, each key at its time."""

    question: str = ""
    draft: str = ""
    at: Sequence[float] = ()  # milliseconds of the clock, for each character; nothing where all had the time to be kept


def now_ms() -> float:
    """Milliseconds of the clock that all processes share."""
    return time.monotonic_ns() / 1e6


def promised(terminal: Terminal, _home: Path, _draft: str) -> None:
    """Wait as long as it may take until a draft is kept."""
    pause(terminal, PROMISED_MS / 1000)


Until = Callable[[Terminal, Path, str], None]


def pause(terminal: Terminal, seconds: float) -> None:
    """Let time pass, while the app can draw."""
    end = time.monotonic() + seconds
    terminal.until(lambda _: time.monotonic() >= end)


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


def start_chat(home: Path, arguments: Sequence[str]) -> Terminal:
    """The app; it may not have drawn anything yet."""
    environment = {**os.environ, "LOCALQWEN_HOME": str(home)}
    return Terminal(sys.executable, ["-m", "localqwen", "chat", *arguments], environment)


class Scene:
    """One trial: brings the app to its moment, kills, and looks."""

    def __init__(self, home: Path, port: int, chance: random.Random, number: int, until_kept: Until = promised) -> None:
        """``until_kept`` waits until a draft must be on the disk."""
        self._home = home
        self._port = port
        self._chance = chance
        self._number = number
        self._until_kept = until_kept
        self._typed = Typed()
        self._kept = ""

    def play(self, kind: Kind, moment: Moment) -> Trial:
        """Kill this at this moment."""
        arguments = ["demo"] if moment == "loading" else ["--endpoint", f"http://127.0.0.1:{self._port}"]
        server = start_server(self._port)
        servers: list[psutil.Process] = [psutil.Process(server.pid)]
        if moment == "starting":
            asyncio.run(self._leave_draft())
        if moment == "loading":
            self._install()
        try:
            with start_chat(self._home, arguments) as terminal:
                getattr(self, f"_{moment}")(terminal)
                pause(terminal, 0 if moment == "typing" else self._seconds(moment))
                if moment == "loading":
                    servers = self._own_servers(terminal, wanted=kind != "chat")
                doomed = [psutil.Process(terminal.pid)] if kind != "server" else []
                for process in [*doomed, *(servers if kind != "chat" else [])]:
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
                killed = now_ms()
                goes_on = self._survives(terminal, moment) if kind == "server" else True
            lost, is_sound, has_draft = self._look(moment, killed)
            goes_on = self._starts_again(arguments) and goes_on
            return Trial(kind, moment, lost, is_sound, has_draft, goes_on)
        finally:
            for process in servers:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            server.kill()
            server.wait()

    def _seconds(self, moment: Moment) -> float:
        return self._chance.uniform(0, LONGEST_SECONDS[moment])

    # -- the moments -----------------------------------------------------------------------------------------------

    def _starting(self, terminal: Terminal) -> None:
        pass

    def _typing(self, terminal: Terminal) -> None:
        terminal.until_shown("Ask anything")
        end = time.monotonic() + self._seconds("typing")
        draft, at = "", []
        for letter in cycle(string.ascii_lowercase):
            draft += letter
            at.append(now_ms())
            terminal.type(letter)
            pause(terminal, KEY_SECONDS)
            if time.monotonic() >= end:
                break
        self._typed = Typed(draft=draft, at=at)

    def _sending(self, terminal: Terminal) -> None:
        self._draft(terminal, f"question {self._number}")
        self._typed.question = self._typed.draft
        terminal.type("\r")

    def _waiting(self, terminal: Terminal) -> None:
        self._ask(terminal, HOLD)
        terminal.until_shown("stops")
        self._draft(terminal, f"draft {self._number}")

    def _answering(self, terminal: Terminal) -> None:
        self._ask(terminal, "")
        terminal.until_shown("stops")
        terminal.until(lambda screen: screen.count(str(time.monotonic_ns() // 10**10)) > 1)
        self._draft(terminal, f"draft {self._number}")

    def _idle(self, terminal: Terminal) -> None:
        self._ask(terminal, SHORT)
        terminal.until_shown("tok/s", "sends")
        self._draft(terminal, f"draft {self._number}")

    def _loading(self, terminal: Terminal) -> None:
        self._draft(terminal, f"draft {self._number}")

    def _ask(self, terminal: Terminal, how: str) -> None:
        terminal.until_shown("Ask anything")
        self._typed.question = f"question {self._number} {how}".strip()
        terminal.type(f"{self._typed.question}\r")

    def _draft(self, terminal: Terminal, text: str) -> None:
        if not self._typed.question:
            terminal.until_shown("Ask anything")
        self._typed.draft = text
        terminal.type(text)
        terminal.until_shown(text)
        self._until_kept(terminal, self._home, text)

    async def _leave_draft(self) -> None:
        path = self._home / "data" / "chats.sqlite3"
        path.parent.mkdir(parents=True)
        store = Store(path)
        self._typed.draft = f"draft {self._number}"
        await Conversation(store).save_draft(self._typed.draft)
        store.close()

    def _install(self) -> None:
        gguf = demo_gguf()
        models = self._home / "data" / "models"
        models.mkdir(parents=True)
        (models / gguf.name).symlink_to(gguf)

    def _own_servers(self, terminal: Terminal, *, wanted: bool) -> list[psutil.Process]:
        """The chat's own server processes; where they are ``wanted``, wait until there are some."""
        chat = psutil.Process(terminal.pid)
        if wanted:
            terminal.until(lambda _: chat.children(recursive=True), seconds=READY_SECONDS)
        return chat.children(recursive=True)

    # -- afterwards ------------------------------------------------------------------------------------------------

    def _survives(self, terminal: Terminal, moment: Moment) -> bool:
        """The app lives, says what has happened, and keeps what has arrived."""
        if moment in {"answering", "waiting"}:
            terminal.until_shown("✗", self._typed.draft, seconds=READY_SECONDS)
        elif moment == "starting":
            terminal.until_shown(self._typed.draft, seconds=READY_SECONDS)
        else:
            pause(terminal, PROMISED_MS / 1000)
        terminal.type("\x11")
        return terminal.wait() == 0

    def _starts_again(self, arguments: Sequence[str]) -> bool:
        with start_chat(self._home, arguments) as again:
            # The conversation in the list, or what was kept of the draft in the composer.
            again.until_shown(self._typed.question or self._kept[:8] or "Ask anything")
            again.type("\x11")
            return again.wait() == 0

    def _look(self, moment: Moment, killed: float) -> tuple[float, bool, bool]:
        """What the file says: milliseconds of text lost, whether it is sound, and whether the draft is there."""
        path = next(self._home.rglob("chats.sqlite3"))
        with sqlite3.connect(path) as connection:
            is_sound = connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        store = Store(path)  # it mends what a dead process left open
        try:
            chats = store.chats()
            self._kept = store.chat(chats[0].id).draft if chats else ""
            said = store.tree(chats[0].id).path(chats[0].tip) if chats else []
        finally:
            store.close()
        is_sound = is_sound and all(message.state != "streaming" for message in said)
        has_draft, lost = self._draft_lost(moment, said, killed)
        if moment in {"answering", "idle"}:
            answers = [message for message in said if message.role == "assistant"]
            lost = max(lost, _answer_lost(answers, moment, killed))
        return lost, is_sound, has_draft

    def _draft_lost(self, moment: Moment, said: Sequence[Message], killed: float) -> tuple[bool, float]:
        kept = self._kept
        if moment == "sending":
            return self._typed.question in {kept, *(message.text for message in said)}, 0.0
        if moment == "typing":
            # What was typed last may be missing, and nothing else.
            missing = len(self._typed.draft) - len(kept)
            lost = killed - self._typed.at[len(kept)] if missing else 0.0
            return self._typed.draft.startswith(kept) and lost <= PROMISED_MS, lost
        return kept == self._typed.draft, 0.0


def _answer_lost(answers: Sequence[Message], moment: Moment, killed: float) -> float:
    if moment == "idle":  # it had ended
        return 0.0 if answers and len(answers[-1].text.split()) == SHORT_WORDS else killed
    words = answers[-1].text.split() if answers else []
    whole = [int(word) for word in words if len(word) == len(words[0])]
    return killed - whole[-1] if whole else killed


def run(kills: int, seed: int) -> None:
    """All of them, and the table."""
    chance = random.Random(seed)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    trials = []
    for number in range(kills):
        kind, moment = KINDS[number % len(KINDS)], MOMENTS[number // len(KINDS) % len(MOMENTS)]
        with tempfile.TemporaryDirectory() as home:
            trials.append(Scene(Path(home), port, chance, number).play(kind, moment))
    print(f"{description('textual')}; load {os.getloadavg()[0]:.1f}; {kills} kills, seed {seed}")
    print(f"Goal: at most {PROMISED_MS} ms of text lost, nothing else.\n")
    print("| while | killed | times | text lost, median | longest | files sound | drafts back | usable afterwards |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for moment in MOMENTS:
        for kind in KINDS:
            _row(moment, kind, [one for one in trials if (one.kind, one.moment) == (kind, moment)])
    _row("all", "", trials)


def _row(moment: str, kind: str, trials: Sequence[Trial]) -> None:
    if trials:
        lost = sorted(one.lost for one in trials)
        counts = [sum(getattr(one, name) for one in trials) for name in ("is_sound", "has_draft", "goes_on")]
        print(
            f"| {moment} | {kind} | {len(trials)} | {lost[len(lost) // 2]:.0f} ms | {lost[-1]:.0f} ms |"
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
