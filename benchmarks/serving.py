"""What the engine's benchmarks share: a real server process, a client that costs next to nothing, and a long text."""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import httpx

CONTENT = b'"text":'  # of a completion's chunk
READY_SECONDS = 120


@dataclass(frozen=True)
class Server:
    """A `localqwen serve` process."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def stream(self, **body: Any) -> tuple[list[float], bytes]:
        """Ask for a streamed completion; return when the reads from the first text on ended (monotonic).

        A raw socket and no parsing: on a machine with few cores an ordinary client would be measured too.
        """
        data = json.dumps({**body, "stream": True, "stream_options": {"include_usage": True}}).encode()
        head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n"
        times: list[float] = []
        received = bytearray()
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + data)
            while not received.endswith(b"0\r\n\r\n"):
                block = connection.recv(1 << 16)
                if not block:
                    break
                received += block
                if times or CONTENT in received:  # the head comes before the prompt is computed
                    times.append(time.perf_counter())
        return times, bytes(received)


@contextmanager
def server(model: Path, *options: str) -> Iterator[Server]:
    """Serve ``model`` with a home of its own until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "localqwen", "serve", str(model), "--port", str(port), *options]
        process = subprocess.Popen(
            command, env={**os.environ, "LOCALQWEN_HOME": home}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            running = Server(port, process)
            wait_until_ready(running)
            yield running
        finally:
            process.terminate()
            process.wait()


def wait_until_ready(running: Server) -> None:
    """Wait until the model is loaded."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{running.url}/health", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise SystemExit("The server does not come up.")


def usage(received: bytes) -> dict[str, Any]:
    """The usage object of a stream."""
    for line in reversed(received.splitlines()):
        if line.startswith(b"data: {") and (found := json.loads(line[6:]).get("usage")):
            return dict(found)
    raise SystemExit(f"The stream has no usage: {received[-500:]!r}")


def text(characters: int, start: int = 0) -> str:
    """English prose of a length: Python's language reference, which every Python brings along."""
    whole = "\n".join(topics[name] for name in sorted(topics))
    return whole[start : start + characters]


def median(values: Sequence[float]) -> float:
    """The middle of the repetitions."""
    return statistics.median(values)
