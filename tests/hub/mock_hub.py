"""A model hub on a local port, with the faults that real ones have.

It answers what huggingface_hub asks: ``/api/models/OWNER/NAME[/revision/REV]`` with sizes and digests, and
``/OWNER/NAME/resolve/REV/FILE`` with byte ranges, by way of a redirect to ``/cdn/`` as the real hub does.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

COMMIT = "c0ffee" * 6 + "c0ff"
_API = re.compile(r"/api/models/([^/]+/[^/?]+)(?:/revision/([^/?]+))?(?:\?.*)?")
_FILE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer: another status, a cut after some bytes, other bytes, another range or length."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    flip: bool = False
    shift: int = 0  # announces and sends a range that begins so much later
    longer: int = 0  # announces so many bytes more than it sends
    silent: bool = False  # never answers


# Gets the file's name, the range's first byte and how often that was asked for before; None is a good answer.
Faults = Callable[[str, int, int], Fault | None]


@dataclass
class MockHub:
    """One running hub. ``repositories`` maps names to directories; everything may be changed while it runs."""

    url: str
    repositories: dict[str, Path]
    commit: str = COMMIT
    token: str | None = None
    lfs: bool = True
    faults: Faults = lambda name, begin, count: None
    bytes_per_second: float = float("inf")
    requests: list[tuple[str, int, int]] = field(default_factory=list)  # file, begin, end
    cdn_tokens: list[str | None] = field(default_factory=list)  # Authorization headers that reached the CDN
    asked: list[str | None] = field(default_factory=list)  # revisions whose files were asked for
    resolved: list[str] = field(default_factory=list)  # files for which the hub itself was asked
    uses: float = float("inf")  # how often an address of the CDN may be used
    used: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    last_byte: float = 0.0  # time.monotonic() of the last byte that was sent
    over: threading.Event = field(default_factory=threading.Event)
    _free: float = 0.0

    def weights_sent(self) -> int:
        """Bytes asked for of weight files."""
        return sum(end - begin for name, begin, end in self.requests if name.endswith((".safetensors", ".gguf")))

    def pace(self, size: int) -> None:
        """Wait until the line has room for ``size`` bytes."""
        with self.lock:
            self._free = max(self._free, time.monotonic()) + size / self.bytes_per_second
            wait = self._free - time.monotonic()
        if wait > 0:
            self.over.wait(wait)
        with self.lock:
            self.last_byte = time.monotonic()
            self.sent += size


@contextlib.contextmanager
def mock_hub(repositories: dict[str, Path]) -> Iterator[MockHub]:
    """Run a hub on a free port of the loopback."""

    class Handler(_Handler):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub = MockHub(f"http://127.0.0.1:{server.server_port}", repositories)
    Handler.hub = hub
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.over.set()
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or every answer waits 40 ms for the client's delayed acknowledgement
    hub: MockHub

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass

    def handle(self) -> None:
        # A client that was killed is what these tests are about.
        with contextlib.suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        path = unquote(self.path)
        if path.startswith("/cdn/"):
            path, _, signature = path.removeprefix("/cdn").partition("?")
            with self.hub.lock:
                self.hub.used[signature] += 1
            if self.hub.used[signature] > self.hub.uses:
                self._answer(403)
            else:
                self._file(path)
        elif self.hub.token is not None and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self._answer(401, {"X-Error-Message": "Invalid username or password."})
        elif match := _API.fullmatch(path):
            self._api(match[1], match[2])
        elif match := _FILE.fullmatch(path):
            self.hub.resolved.append(match[3])
            self._answer(302, {"Location": f"{self.hub.url}/cdn{self.path}?{len(self.hub.resolved)}"})
        else:
            self._answer(404)

    def _api(self, name: str, revision: str | None) -> None:
        self.hub.asked.append(revision)
        folder = self.hub.repositories.get(name)
        if folder is None:
            self._answer(401, {"X-Error-Code": "RepoNotFound"})
        elif revision not in (None, "main", self.hub.commit):
            self._answer(404, {"X-Error-Code": "RevisionNotFound"})
        else:
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            siblings = [self._sibling(folder, path) for path in files]
            info = {"id": name, "modelId": name, "sha": self.hub.commit, "siblings": siblings, "tags": []}
            self._answer(200, {"Content-Type": "application/json"}, json.dumps(info).encode())

    def _sibling(self, folder: Path, path: Path) -> dict[str, Any]:
        size = path.stat().st_size
        entry: dict[str, Any] = {"rfilename": str(path.relative_to(folder)), "size": size, "blobId": _blob(path)}
        if self.hub.lfs and path.suffix in {".safetensors", ".gguf"}:
            entry["lfs"] = {"sha256": _sha256(path, path.stat().st_mtime_ns), "size": size, "pointerSize": 134}
        return entry

    def _file(self, path: str) -> None:
        match = _FILE.fullmatch(path)
        folder = self.hub.repositories.get(match[1]) if match else None
        if match is None or folder is None or not (folder / match[3]).is_file():
            self._answer(404, {"X-Error-Code": "EntryNotFound"})
            return
        name, file = match[3], folder / match[3]
        size = file.stat().st_size
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", f"bytes=0-{size - 1}"))
        assert wanted is not None
        begin, end = int(wanted[1]), min(int(wanted[2]) + 1, size)
        with self.hub.lock:
            count = sum(entry[:2] == (name, begin) for entry in self.hub.requests)
            self.hub.requests.append((name, begin, end))
            self.hub.cdn_tokens.append(self.headers.get("Authorization"))
        fault = self.hub.faults(name, begin, count) or Fault()
        if fault.silent:
            self.hub.over.wait(60)
            self.close_connection = True
        elif fault.status is not None:
            self._answer(fault.status, fault.headers)
        else:
            self._send(file, begin + fault.shift, end, size, fault)

    def _send(self, file: Path, begin: int, end: int, size: int, fault: Fault) -> None:
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{size}")
        self.send_header("Content-Length", str(end - begin + fault.longer))
        self.end_headers()
        left = end - begin if fault.cut_after is None else min(end - begin, fault.cut_after)
        whole = left == end - begin and not fault.longer
        with file.open("rb") as stream:
            stream.seek(begin)
            while left and not self.hub.over.is_set():
                data = bytearray(stream.read(min(left, 1 << 16)))
                if fault.flip:
                    data[len(data) // 2] ^= 1
                self.hub.pace(len(data))
                self.wfile.write(data)
                left -= len(data)
        self.close_connection = not whole

    def _answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _blob(path: Path) -> str:
    """Git's digest, as the hub gives it for small files."""
    if path.stat().st_size > 50_000_000:
        return "0" * 40
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@cache
def _sha256(path: Path, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
