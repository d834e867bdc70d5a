"""A model server in a process of its own, over a real socket, that answers what the benchmark tells it to.

It does what a person's chat costs: server-sent events as our own server writes them, usage, token counts and the
memory of two devices. Only the words come from a script instead of a model. Each answer takes the script that was set
last (``POST /script``): text that comes at once, then, after ``POST /go``, pieces at a fixed rate.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
WINDOW = 131_072
CHARACTERS_PER_TOKEN = 4
GIB = 1 << 30
DEVICES = [
    {"name": "CUDA0", "description": "a card", "kind": "gpu", "total": 24 * GIB, "mine": 9 * GIB},
    {"name": "CPU", "description": "a processor", "kind": "cpu", "total": 64 * GIB, "mine": 5 * GIB},
]


@dataclass(frozen=True, slots=True)
class Script:
    """What an answer is: ``seed`` at once, then ``count`` deltas, ``rate`` a second, of ``pieces`` again and again.

    With ``waits`` they come only after ``POST /go``.
    """

    pieces: Sequence[str]
    rate: float
    count: int
    seed: str = ""
    waits: bool = False


class Server(ThreadingHTTPServer):
    """Holds the script, and what the answers wait for."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A reader that was killed is no news."""

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.script = Script(("word ",), 200, 0)
        self.go = threading.Event()


class Handler(BaseHTTPRequestHandler):
    """OpenAI's API, as far as the chat asks for it, and ``/localqwen/``."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """The models, or the memory."""
        if self.path == "/localqwen/memory":
            used = time.monotonic_ns() % GIB  # something changes at each look
            self._json({"devices": [{**device, "used": 9 * GIB + used} for device in DEVICES]})
        else:
            self._json({"object": "list", "data": [{"id": "scripted", "max_model_len": WINDOW}]})

    def do_POST(self) -> None:
        """An answer, a count, or the next script."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        match self.path:
            case "/localqwen/tokenize":
                self._json({"count": len(body) // CHARACTERS_PER_TOKEN, "max_model_len": WINDOW})
            case "/script":
                self.server.go.clear()
                self.server.script = Script(**json.loads(body))
                self._json({})
            case "/go":
                self.server.go.set()
                self._json({})
            case _:
                with suppress(OSError):  # the reader has left
                    self._answer(self.server.script, len(body) // CHARACTERS_PER_TOKEN)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _json(self, data: Mapping[str, Any]) -> None:
        body = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _answer(self, script: Script, prompt: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._event({"done": prompt, "total": prompt, "yarn_factor": 1.0}, "localqwen.prefill")
        self._delta({"role": "assistant", "content": script.seed})
        if script.waits:
            self.server.go.wait()
        begin = time.monotonic()
        for number in range(script.count):
            time.sleep(max(0.0, begin + number / script.rate - time.monotonic()))
            self._delta({"content": script.pieces[number % len(script.pieces)]})
        self._delta({}, "stop")
        usage = {"prompt_tokens": prompt, "completion_tokens": script.count, "total_tokens": prompt + script.count}
        self._event({**usage, "cached_tokens": 0, "decode_seconds": script.count / script.rate}, "localqwen.usage")
        self._event({"choices": [], "usage": usage})
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _delta(self, delta: Mapping[str, str], reason: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        self._event({"choices": [choice]})

    def _event(self, data: Mapping[str, Any], name: str = "") -> None:
        if not name:
            head = {"id": "chatcmpl-0123456789abcdef", "object": "chat.completion.chunk", "created": 1_700_000_000}
            data = {**head, "model": "scripted", **data}
        event = f"event: {name}\n" if name else ""
        self._chunk(f"{event}data: {json.dumps(data, separators=(',', ':'))}\n\n".encode())

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))


@dataclass(frozen=True, slots=True)
class Scripted:
    """A server that runs: where, and what it is told."""

    url: str
    pid: int

    def tell(self, script: Script) -> None:
        """The next answers are these."""
        self._post("/script", asdict(script))

    def go(self) -> None:
        """Let the answers go on that wait."""
        self._post("/go", {})

    def _post(self, path: str, body: Mapping[str, Any]) -> None:
        data = json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data), timeout=30):
            pass


@contextmanager
def scripted_server(niceness: int = 0) -> Iterator[Scripted]:
    """Start one in a process of its own; it ends with the block."""
    command = [sys.executable, "-m", "benchmarks.scripted", "--niceness", str(niceness)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            yield Scripted(f"http://127.0.0.1:{port}", process.pid)
        finally:
            process.kill()


def main() -> None:
    """Be the server; the first line of the output is its port."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--niceness", type=int, default=0)
    os.nice(parser.parse_args().niceness)
    with Server(0) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
