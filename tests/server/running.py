"""Our server on a real socket, in a thread of the test's process so that its engine can be looked at."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from localqwen.engine.engine import Engine
from localqwen.engine.job import Job
from localqwen.engine.options import EngineOptions
from localqwen.events import Ready
from localqwen.server.app import Access
from localqwen.server.process import Server

DEADLINE = 120.0


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition that must come true, and fail if it does not within two minutes."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.01)


@dataclass
class Running:
    """A server that listens at ``url``; ``jobs`` are all that it was asked for."""

    url: str
    engine: Engine
    server: Server
    jobs: list[Job]

    def ask(self, **body: object) -> httpx.Response:
        """A chat completion."""
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, timeout=DEADLINE)


@contextmanager
def running_server(
    gguf: Path,
    *,
    context: int | None = None,
    access: Access | None = None,
    names: Sequence[str] = (),
    ready: bool = True,
) -> Iterator[Running]:
    """Serve a model until the block ends; ``ready`` waits for it to be loaded."""
    engine = Engine(gguf, EngineOptions(context=context), name="demo")
    jobs: list[Job] = []
    submit = engine.submit

    def recorded(*args: object) -> Job:
        jobs.append(submit(*args))  # type: ignore[arg-type]
        return jobs[-1]

    engine.submit = recorded  # type: ignore[assignment, method-assign]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(engine, access or Access(), names)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        engine.start()
        thread.start()
        try:
            if ready:
                wait_until(lambda: isinstance(engine.state, Ready), "the model is loaded")
            wait_until(lambda: server.started, "the server accepts connections")
            yield Running(f"http://127.0.0.1:{listener.getsockname()[1]}", engine, server, jobs)
        finally:
            server.leave()
            thread.join()
            assert engine.close()


@contextmanager
def held_server(
    gguf: Path, monkeypatch: pytest.MonkeyPatch, names: Sequence[str] = ()
) -> Iterator[tuple[Running, threading.Event]]:
    """A server whose model goes on loading when the event is set."""
    go_on = threading.Event()
    report = Engine._report

    def slow_report(engine: Engine, progress: float) -> bool:
        if progress > 0.5:
            go_on.wait(DEADLINE)
        return report(engine, progress)

    monkeypatch.setattr(Engine, "_report", slow_report)
    with running_server(gguf, context=256, names=names, ready=False) as running:
        yield running, go_on
        go_on.set()
