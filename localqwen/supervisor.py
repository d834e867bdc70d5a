"""Starts, finds and watches our private server process.

The engine lives in a process of its own because llama.cpp ends the process on an assertion, and because two terminals
should share one model in memory. The process listens on a Unix socket in a private directory; the socket's name is a
digest of the model file and the options, so whoever wants the same model finds the same server.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import httpx
from filelock import FileLock, Timeout

from localqwen import paths
from localqwen.endpoint import Endpoint
from localqwen.errors import ServerError
from localqwen.serve_options import ServeOptions

START_SECONDS = 60
ANSWER_SECONDS = 10
LOG_TAIL_BYTES = 65536
# The command line starts every sentence meant for a person with this; the rest of a log is llama.cpp's.
SPOKEN = "localqwen: "


class Supervisor:
    """One model's server process: found when it runs already, else started."""

    def __init__(self, model: Path, options: ServeOptions | None = None, name: str | None = None) -> None:
        """``model`` is a GGUF file; ``name`` is what ``/v1/models`` calls it (by default, the file's name).

        Raises :class:`ServerError` when the file cannot be read, or there is no place for the socket.
        """
        self.model = model.resolve()
        self.options = options or ServeOptions()
        self.name = name or model.stem
        key = _digest(self.model, self.options)
        with _explained(self.name):
            directory = paths.runtime_dir()
        self.socket = directory / f"{key}.sock"
        self.log = paths.log_dir() / f"server-{key}.log"
        self._lock = directory / f"{key}.lock"
        self._process: subprocess.Popen[bytes] | None = None
        self._reaper: threading.Thread | None = None

    async def start(self) -> Endpoint:
        """Return the endpoint of a server that accepts connections; its model may still be loading.

        A server that nobody attaches to (:meth:`localqwen.client.Client.attach`) ends by itself after a minute.
        Raises :class:`ServerError` when it cannot be started.
        """
        with _explained(self.name):
            await asyncio.to_thread(self._find_or_start)
        return Endpoint(uds=self.socket)

    async def is_running(self) -> bool:
        """Whether the server answers, ready or loading; :meth:`failure` says why not."""
        return await asyncio.to_thread(self._answers)

    def failure(self) -> str:
        """Why the server died, in one sentence, from its last words and its exit status. May wait a second for them."""
        if self._reaper is not None:
            self._reaper.join(timeout=2)  # the socket closes a moment before the exit status is known
        status = self._process.poll() if self._process is not None else None
        spoken = _last_words(self.log)
        if spoken:
            return spoken
        if status == -signal.SIGKILL:
            return (
                f"The server process of {self.name} was killed, most likely because memory ran out: close other "
                "programs, or use a smaller --ctx or model."
            )
        if status is not None and status < 0:
            return f"The server process of {self.name} died of {_signal_name(-status)}: its log is {self.log}."
        return f"The server process of {self.name} ended unexpectedly: its log is {self.log}."

    def _find_or_start(self) -> None:
        # The lock keeps two terminals from starting two servers: the second waits until the first's socket accepts.
        with FileLock(self._lock, timeout=START_SECONDS * 2):
            if self._answers():
                return
            self.socket.unlink(missing_ok=True)
            self._spawn()
            deadline = time.monotonic() + START_SECONDS
            while not self._answers():
                assert self._process is not None
                if self._process.poll() is not None:
                    raise ServerError(self.failure())
                if time.monotonic() > deadline:
                    self._process.kill()
                    raise ServerError(f"The server process of {self.name} does not come up: its log is {self.log}.")
                time.sleep(0.02)

    def _spawn(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        # -P: a file named like one of our modules in the current directory must not be run instead.
        command = [sys.executable, "-P", "-m", "localqwen", "serve", str(self.model), *self.options.arguments()]
        command += ["--served-model-name", self.name, "--uds", str(self.socket), "--private"]
        self.log.write_bytes(b"")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Its own session: Ctrl-C in the terminal is for the interface, and closing one terminal must not take
                # the model away from another.
                start_new_session=True,
                # Where there is a debugger, llama.cpp shows it a process that dies, and everybody waits.
                env={**os.environ, "GGML_NO_BACKTRACE": "1"},
            )
        # Waiting in a thread collects the exit status even when nobody asks, so that no zombie is left.
        self._reaper = threading.Thread(target=self._process.wait, name="server-reaper", daemon=True)
        self._reaper.start()

    def _answers(self) -> bool:
        """Whether a server of use is behind the socket; asking also restarts its idle countdown."""
        if not self.socket.exists():
            return False
        try:
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(self.socket)), timeout=ANSWER_SECONDS) as http:
                return http.get("http://localhost/health").json()["status"] in {"ok", "loading"}
        except (httpx.HTTPError, ValueError, LookupError, TypeError):
            return False


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn what the system refuses into sentences."""
    try:
        yield
    except Timeout as error:  # which is an OSError
        raise ServerError(
            f"Another localqwen has been starting {name} for {START_SECONDS * 2:.0f} seconds: end it, and try again."
        ) from error
    except OSError as error:
        place = f" at {error.filename}" if error.filename else ""
        reason = error.strerror or type(error).__name__
        raise ServerError(
            f"The server process of {name} cannot be started ({reason}{place}): make room or mend that, and try again."
        ) from error


def _digest(model: Path, options: ServeOptions) -> str:
    """Tell servers apart by model file and options; a file that was made anew is another one."""
    try:
        stat = model.stat()
    except OSError as error:
        raise ServerError(f"{model} cannot be read: {error.strerror}.") from error
    identity = json.dumps([str(model), stat.st_size, stat.st_mtime_ns, asdict(options)])
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def _last_words(log: Path) -> str | None:
    """The last sentence for a person in a log file."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return None
    spoken = [line.removeprefix(SPOKEN) for line in text.splitlines() if line.startswith(SPOKEN)]
    return spoken[-1] if spoken else None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
