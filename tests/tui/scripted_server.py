"""An OpenAI server whose answers the test writes, for chats in processes of their own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ScriptedServer(ThreadingHTTPServer):
    """Answers each question with the next of ``answers``; what it was asked is in ``asked``."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[str] = []
        self.asked: list[list[dict[str, str]]] = []
        self.knows_paths = True  # otherwise it answers all that can be got with its models
        self.go_on = threading.Event()  # until it is set, an answer that ends with "…" does not end

    def hang_up(self) -> None:
        """Stop listening."""
        self.shutdown()
        self.server_close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: ScriptedServer

    def do_GET(self) -> None:
        if self.server.knows_paths and self.path != "/v1/models":
            self._send(404, "application/json", '{"error": {"message": "Not found"}}')
            return
        self._send(200, "application/json", json.dumps({"data": [{"id": "script", "max_model_len": 4096}]}))

    def do_POST(self) -> None:
        body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/chat/completions":
            self._send(404, "application/json", "{}")
            return
        self.server.asked.append(body["messages"])
        text = self.server.answers.pop(0) if self.server.answers else "I have nothing to say."
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for start in range(0, len(text), 5):
            self._chunk(text[start : start + 5], None)
        if text.endswith("…"):
            self.server.go_on.wait(60)
        self._chunk("", "stop")
        self._write(b"data: [DONE]\n\n")

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _chunk(self, text: str, reason: str | None) -> None:
        chunk = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]}
        self._write(f"data: {json.dumps(chunk)}\n\n".encode())

    def _write(self, data: bytes) -> None:
        with suppress(OSError):  # the reader has left
            self.wfile.write(data)

    def _send(self, status: int, kind: str, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(text.encode())


@contextmanager
def scripted_server(*answers: str) -> Iterator[ScriptedServer]:
    """One that runs until the block ends."""
    with ScriptedServer() as server:
        server.answers = list(answers)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.go_on.set()
            server.shutdown()
