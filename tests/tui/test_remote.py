"""Servers on other machines, over real sockets: ours, which tell all there is to tell, and somebody else's."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from localqwen.endpoint import Endpoint
from localqwen.engine.engine import Engine
from localqwen.errors import LocalqwenError
from localqwen.events import Delta, Finished, Loading, Ready
from localqwen.params import ChatMessage, SamplingParams
from tests.server.running import DEADLINE, Running, held_server, running_server
from tests.tui.scripted_server import scripted_server
from tests.tui.test_backend import until
from tui.asking import Asking
from tui.backend import Backend
from tui.backend_state import Failed
from tui.connections import RemoteServer, is_offered
from tui.model_list import ModelRow
from tui.model_source import RemoteModels

HELLO: list[ChatMessage] = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def held(demo_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Running, threading.Event]]:
    """A server of ours whose model goes on loading when the event is set."""
    with held_server(demo_gguf, monkeypatch, names=("demo", "other")) as held:
        yield held


def reason(backend: Backend) -> str:
    return backend.state.reason if isinstance(backend.state, Failed) else ""


@asynccontextmanager
async def talking_to(url: str, model: str | None = None) -> AsyncIterator[Backend]:
    backend = Backend(RemoteServer(Endpoint(url), model))
    backend.start()
    yield backend
    await backend.close()


async def test_a_server_of_ours_is_followed_while_it_loads_and_until_it_goes(
    held: tuple[Running, threading.Event],
) -> None:
    server, go_on = held
    async with talking_to(server.url, "other") as backend:
        await until(lambda: isinstance(backend.state, Loading))
        question = Asking(backend).stream(HELLO, SamplingParams(max_tokens=2))
        go_on.set()
        events = [event async for event in question]
        assert isinstance(events[-1], Finished)
        assert events[-1].error is None
        assert isinstance(backend.state, Ready)
        assert (backend.state.model, backend.state.context) == ("other", 256)
        assert backend.state.sampling.temperature is not None
        assert backend.planned is not None
        assert backend.planned.plan.context == 256
        await backend.look_at_memory()
        assert [device.name for device in backend.memory] == [share.device for share in backend.planned.plan.shares]
        count = await backend.count_tokens("Hello there")
        assert count.is_exact
        server.server.leave()
        await until(lambda: isinstance(backend.state, Failed))
        assert server.url in reason(backend)


async def test_a_server_of_ours_that_cannot_load_its_model_says_why(
    demo_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail = threading.Event()

    def report(*_: object) -> bool:
        fail.wait(DEADLINE)
        raise LocalqwenError("The weights are gone.")

    monkeypatch.setattr(Engine, "_report", report)
    with running_server(demo_gguf, ready=False) as server:
        async with talking_to(server.url) as backend:
            await until(lambda: isinstance(backend.state, Loading))
            fail.set()
            await until(lambda: isinstance(backend.state, Failed))
            assert backend.state == Failed(f"{server.url} cannot load its model: The weights are gone.")


@pytest.mark.parametrize("knows_paths", [True, False], ids=["404", "JSON for everything"])
async def test_somebody_elses_server_is_good_until_an_answer_fails(*, knows_paths: bool) -> None:
    with scripted_server("Hi.") as server:
        server.knows_paths = knows_paths
        async with talking_to(server.url) as backend:
            await until(lambda: isinstance(backend.state, Ready))
            assert backend.state == Ready("script", 4096)
            events = [event async for event in Asking(backend).stream(HELLO, SamplingParams())]
            assert Delta("Hi.") in events
            server.hang_up()
            *_, last = [event async for event in Asking(backend).stream(HELLO, SamplingParams())]
            assert isinstance(last, Finished)
            assert server.url in (last.error or "")
            assert reason(backend) == last.error


async def test_a_model_that_is_not_offered_is_no_model() -> None:
    with scripted_server() as server:
        async with talking_to(server.url, "qwen") as backend:
            await until(lambda: isinstance(backend.state, Failed))
            assert backend.state == Failed(f"{server.url} does not offer qwen: name one that it does (script).")


def test_what_follows_a_colon_need_not_be_listed() -> None:
    assert is_offered("qwen2", ["llama3:8b", "qwen2:latest"])
    assert is_offered("qwen/qwen-72b:free", ["qwen/qwen-72b"])
    assert not is_offered("qwen", ["qwen2:latest"])


async def test_what_servers_offer_is_listed(held: tuple[Running, threading.Event]) -> None:
    running, _ = held
    with scripted_server() as server:
        theirs = RemoteModels(RemoteServer(Endpoint(server.url)))
        assert await theirs.listed() == [ModelRow("script", window=4096, longest=4096, is_remote=True)]
    ours = RemoteModels(RemoteServer(Endpoint(running.url)))
    assert await ours.judged() == [ModelRow("demo", is_remote=True), ModelRow("other", is_remote=True)]
