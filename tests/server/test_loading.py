"""The socket accepts before the model is loaded, and says how far it is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from httpx_sse import ServerSentEvent, connect_sse

from localqwen.engine.engine import Engine, Failed
from localqwen.events import Ready
from localqwen.server.app import Access, create_app
from localqwen.server.attach import Attachments
from tests.server.running import DEADLINE, Running, held_server, running_server, wait_until


@pytest.fixture
def held(demo_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Running, threading.Event]]:
    """A server whose model goes on loading when the event is set."""
    with held_server(demo_gguf, monkeypatch) as held:
        yield held


def test_health_and_requests_while_loading(held: tuple[Running, threading.Event]) -> None:
    server, go_on = held
    health = httpx.get(f"{server.url}/health")
    assert health.status_code == 503
    assert health.json()["status"] == "loading"
    assert 0 <= health.json()["progress"] <= 1
    refused = server.ask(messages=[{"role": "user", "content": "Hello"}])
    assert refused.status_code == 503
    assert refused.headers["Retry-After"]
    assert httpx.get(f"{server.url}/v1/models").json()["data"][0]["max_model_len"] is None
    go_on.set()
    wait_until(lambda: isinstance(server.engine.state, Ready), "the model is loaded")
    assert httpx.get(f"{server.url}/health").json() == {"status": "ok"}


def test_attach_follows_the_loading(held: tuple[Running, threading.Event]) -> None:
    server, go_on = held
    events: list[ServerSentEvent] = []
    with httpx.Client(timeout=DEADLINE) as http, connect_sse(http, "GET", f"{server.url}/localqwen/attach") as source:
        for event in source.iter_sse():
            events.append(event)
            go_on.set()
            if event.event == "ready":
                break
    assert {event.event for event in events} == {"plan", "loading", "ready"}
    progress = [event.json()["progress"] for event in events if event.event == "loading"]
    assert progress == sorted(progress)
    plan = next(event.json()["plan"] for event in events if event.event == "plan")
    assert plan["context"] == 256
    ready = events[-1].json()
    assert (ready["model"], ready["context"]) == ("demo", 256)
    assert all(isinstance(value, int | float) for value in ready["sampling"].values())
    assert {"temperature", "top_p", "top_k"} <= ready["sampling"].keys()


def test_attach_says_why_loading_failed(tmp_path: Path) -> None:
    path = tmp_path / "notes.gguf"
    path.write_text("Dear diary")
    with running_server(path, ready=False) as server, httpx.Client(timeout=DEADLINE) as http:
        with connect_sse(http, "GET", f"{server.url}/localqwen/attach") as source:
            (event,) = (event for event in source.iter_sse() if event.event != "loading")
        assert event.event == "error"
        assert "notes.gguf is no GGUF file" in event.json()["message"]


async def test_a_model_that_failed_is_not_said_to_be_planned(tmp_path: Path) -> None:
    path = tmp_path / "notes.gguf"
    path.write_text("Dear diary")
    engine = Engine(path)
    # The server itself ends soon after, so that its routes are asked without one.
    app = create_app(engine, Access(), Attachments(engine))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http:
        early = await http.get("/localqwen/plan")
        engine.start()
        wait_until(lambda: isinstance(engine.state, Failed), "loading has failed")
        late = await http.get("/localqwen/plan")
    assert early.json()["error"]["code"] == "loading"
    assert late.status_code == 503
    assert "notes.gguf is no GGUF file" in late.json()["error"]["message"]
    assert engine.close()


def test_the_devices_are_told_whatever_the_model_does(held: tuple[Running, threading.Event]) -> None:
    server, go_on = held
    for _ in range(2):
        (*_, host) = httpx.get(f"{server.url}/localqwen/devices").json()["devices"]
        assert (host["name"], host["kind"], host["backend"]) == ("CPU", "cpu", "CPU")
        assert 0 < host["free"] < host["total"]
        go_on.set()
        wait_until(lambda: isinstance(server.engine.state, Ready), "the model is loaded")
