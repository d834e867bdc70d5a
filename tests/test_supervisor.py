"""The server process: started once, shared, and its death explained."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
from filelock import FileLock

from localqwen import paths
from localqwen.client import Client
from localqwen.endpoint import Endpoint
from localqwen.errors import ServerError, ServerGoneError
from localqwen.events import AnswerEvent, Delta, Finished, Ready
from localqwen.params import ChatMessage, SamplingParams
from localqwen.serve_options import PRIVATE_NICENESS, ServeOptions
from localqwen.supervisor import Supervisor
from tests.server.running import wait_until

STORY: list[ChatMessage] = [{"role": "user", "content": "Write a very long story about a lighthouse keeper."}]
SMALL = ServeOptions(ctx=1024)


@pytest.fixture
def supervise(demo_gguf: Path) -> Iterator[Supervisor]:
    """A supervisor of the demo model whose server does not outlive the test."""
    supervisor = Supervisor(demo_gguf, SMALL, "demo")
    yield supervisor
    if supervisor._process is not None:
        supervisor._process.kill()
        supervisor._process.wait()


def process_id(supervisor: Supervisor) -> int:
    assert supervisor._process is not None
    return supervisor._process.pid


async def until_ready(client: Client) -> AsyncGenerator[None, None]:
    """Attach, and stay attached until the generator is closed."""
    async with aclosing(client.attach()) as states:
        async for state in states:
            if isinstance(state, Ready):
                yield


async def test_started_once_and_shared(supervise: Supervisor, demo_gguf: Path) -> None:
    others = [Supervisor(demo_gguf, SMALL) for _ in range(3)]
    endpoints = await asyncio.gather(*(each.start() for each in (supervise, *others)))
    assert len(set(endpoints)) == 1
    started = [each for each in (supervise, *others) if each._process is not None]
    assert len(started) == 1
    supervise._process = started[0]._process
    assert await others[0].is_running()
    async with Client(endpoints[0]) as client:
        assert await client.models() == [started[0].name]


def test_other_options_are_another_server(demo_gguf: Path) -> None:
    sockets = {Supervisor(demo_gguf, ServeOptions(ctx=ctx)).socket for ctx in (None, 512, 1024)}
    assert len(sockets) == 3


async def test_the_socket_is_private(supervise: Supervisor) -> None:
    endpoint = await supervise.start()
    assert endpoint.uds is not None
    assert endpoint.uds.parent == paths.runtime_dir()
    assert endpoint.uds.stat().st_mode & 0o077 == 0
    assert endpoint.uds.parent.stat().st_mode & 0o077 == 0


async def test_it_gives_way_to_the_chat(supervise: Supervisor) -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    await supervise.start()
    assert os.getpriority(os.PRIO_PROCESS, process_id(supervise)) == min(19, before + PRIVATE_NICENESS)


async def test_a_stale_socket_is_replaced(supervise: Supervisor) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(supervise.socket))
    endpoint = await supervise.start()
    async with Client(endpoint) as client:
        assert await client.models() == ["demo"]


async def test_a_server_killed_in_the_middle_of_an_answer(supervise: Supervisor) -> None:
    endpoint = await supervise.start()
    events: list[AnswerEvent] = []
    async with Client(endpoint) as client, aclosing(until_ready(client)) as attached:
        await anext(attached)
        async for event in client.stream(STORY, SamplingParams(temperature=0)):
            if isinstance(event, Delta) and not any(isinstance(before, Delta) for before in events):
                os.kill(process_id(supervise), signal.SIGKILL)
            events.append(event)
        with pytest.raises(ServerGoneError):
            await anext(attached)
    *_, last = events
    assert isinstance(last, Finished)
    assert last.reason == "error"
    assert "went away" in str(last.error)
    assert not await supervise.is_running()
    assert "was killed, most likely because memory ran out" in supervise.failure()
    # The place is free for a new one.
    async with Client(await supervise.start()) as client:
        assert await client.models() == ["demo"]


async def test_an_assertion_is_the_reason(supervise: Supervisor) -> None:
    await supervise.start()
    assert supervise._process is not None
    with supervise.log.open("a") as log:
        log.write("localqwen: llama.cpp stopped on an internal check, x.cpp:1: GGML_ASSERT(false) failed.\n")
    os.kill(process_id(supervise), signal.SIGABRT)
    supervise._process.wait()
    assert supervise.failure() == "llama.cpp stopped on an internal check, x.cpp:1: GGML_ASSERT(false) failed."


async def test_another_signal_is_named(supervise: Supervisor) -> None:
    await supervise.start()
    os.kill(process_id(supervise), signal.SIGSEGV)
    assert supervise._process is not None
    supervise._process.wait()
    assert f"died of SIGSEGV: its log is {supervise.log}" in supervise.failure()


async def test_a_server_that_nobody_is_attached_to_any_more_ends_and_cleans_up(supervise: Supervisor) -> None:
    endpoint = await supervise.start()
    async with Client(endpoint) as client, aclosing(until_ready(client)) as attached:
        await anext(attached)
    process = supervise._process
    assert process is not None
    wait_until(lambda: process.poll() is not None, "the server ends")
    assert process.poll() == 0
    assert not supervise.socket.exists()


async def test_a_load_that_nobody_waits_for_any_more_is_given_up(supervise: Supervisor) -> None:
    endpoint = await supervise.start()
    async with Client(endpoint) as client, aclosing(client.attach()) as states:
        await anext(states)
    process = supervise._process
    assert process is not None
    wait_until(lambda: process.poll() is not None, "the server ends")
    assert process.poll() == 0


async def test_loading_that_fails(tmp_path: Path) -> None:
    path = tmp_path / "notes.gguf"
    path.write_text("Dear diary")
    supervisor = Supervisor(path)
    with pytest.raises(ServerError, match=r"notes\.gguf is no GGUF file"):
        await attach(await supervisor.start())
    assert "notes.gguf is no GGUF file" in supervisor.failure()


async def attach(endpoint: Endpoint) -> None:
    async with Client(endpoint) as client:
        async for _ in client.attach():
            pass


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="cannot be read"):
        Supervisor(tmp_path / "missing.gguf")


async def test_a_log_that_cannot_be_written_is_named(supervise: Supervisor) -> None:
    supervise.log.mkdir(parents=True)
    with pytest.raises(ServerError, match=f"cannot be started .Is a directory at {supervise.log}.: make room"):
        await supervise.start()


async def test_a_start_that_another_one_holds_up_is_named(
    supervise: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localqwen.supervisor.START_SECONDS", 0.01)
    with FileLock(supervise._lock), pytest.raises(ServerError, match="Another localqwen has been starting demo"):
        await supervise.start()


def test_a_folder_for_the_socket_that_cannot_be_is_named(demo_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(paths, "runtime_dir", full)
    with pytest.raises(ServerError, match=r"cannot be started \(No space left on device\): make room"):
        Supervisor(demo_gguf, SMALL)
