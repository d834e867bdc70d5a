"""Lives of a connection: loading, giving up, switching, dying."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from localqwen.device_memory import DeviceMemory
from localqwen.errors import ServerError
from localqwen.events import AnswerEvent, Asked, Delta, Finished, Loading, Planned, Prefill, Ready
from localqwen.params import ChatMessage, SamplingParams
from localqwen.serve_options import ServeOptions
from tests.tui.fakes import FakeClient, FakeConnection
from tests.tui.plans import SMALL_PLAN
from tui.asking import Asking
from tui.backend import Backend
from tui.backend_state import Failed, Starting, Stopped
from tui.connections import LocalServer

HELLO: list[ChatMessage] = [{"role": "user", "content": "Hello"}]
SECONDS = 60.0


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - conditions of other tasks and processes, which tell nobody
            await asyncio.sleep(0.005)


@asynccontextmanager
async def living(*connections: FakeConnection) -> AsyncIterator[Backend]:
    backend = Backend(connections[0])
    backend.start()
    await until(lambda: connections[0].lives)
    yield backend
    await backend.close()


def asked(asking: Asking) -> tuple[list[AnswerEvent], asyncio.Task[None]]:
    """What the model says, looked at while it comes; that it has been asked is no word of it."""
    events: list[AnswerEvent] = []

    async def listen() -> None:
        async for event in asking.stream(HELLO, SamplingParams()):
            if event != Asked():
                events.append(event)  # noqa: PERF401 - looked at while they come

    return events, asyncio.ensure_future(listen())


async def test_loading_is_given_up_and_begun_again() -> None:
    connection = FakeConnection(ready=False)
    async with living(connection) as backend:
        connection.load(Loading(0.5, 5, 10))
        await until(lambda: isinstance(backend.state, Loading))
        _, waiting = asked(Asking(backend))
        await asyncio.sleep(0)
        assert backend.cancel()
        assert isinstance(backend.state, Stopped)
        with pytest.raises(ServerError, match="was cancelled"):
            await waiting
        assert not backend.cancel()
        connection.load(Ready("fake", 10))
        backend.start()
        await until(lambda: isinstance(backend.state, Ready))
        assert connection.lives == 2


async def test_a_plan_is_forgotten_when_the_model_is_loaded_anew() -> None:
    connection = FakeConnection(ready=False)
    async with living(connection) as backend:
        connection.load(Planned(SMALL_PLAN))
        await until(lambda: backend.planned is not None)
        backend.start()
        assert backend.planned is None
        assert backend.memory == ()
        await until(lambda: connection.lives == 2)


async def test_what_an_old_life_still_says_is_not_heard() -> None:
    connection = FakeConnection(ready=False)
    async with living(connection) as backend:
        (life,) = connection.listeners
        backend.cancel()
        life.loaded(connection.client, Ready("fake", 10))
        life.lost()
        assert isinstance(backend.state, Stopped)


async def test_switching_ends_answers_politely_and_the_chat_goes_on() -> None:
    first, second = FakeConnection(), FakeConnection(ready=False)
    async with living(first, second) as backend:
        await until(lambda: isinstance(backend.state, Ready))
        asking = Asking(backend)
        events, task = asked(asking)
        first.client.say("Once")
        await until(lambda: events)
        second.name = "second"
        backend.switch(second)
        await task
        assert events == [Delta("Once"), Finished("cancelled")]
        assert first.client.closed == 1
        assert (asking.model, backend.model) == ("fake", "second")
        later, task = asked(Asking(backend))
        second.load(Ready("second", 20))
        second.client.answer("Two")
        await task
        assert later == [Delta("Two"), Finished("stop")]


async def test_a_question_that_waits_goes_to_the_model_that_is_chosen() -> None:
    first, second = FakeConnection(ready=False), FakeConnection()
    async with living(first, second) as backend:
        events, task = asked(Asking(backend))
        await asyncio.sleep(0)
        second.client.answer("Hi")
        backend.switch(second)
        await task
        assert events == [Delta("Hi"), Finished("stop")]
        assert first.client.asked == []


async def test_a_failure_is_forgotten_when_another_model_is_chosen() -> None:
    first, second = FakeConnection(), FakeConnection()
    async with living(first, second) as backend:
        first.die("It was killed.")
        await until(lambda: isinstance(backend.state, Failed))
        backend.switch(second)
        assert isinstance(backend.state, Starting)
        await until(lambda: isinstance(backend.state, Ready))


async def test_the_rest_of_an_answer_is_asked_for() -> None:
    connection = FakeConnection()
    async with living(connection) as backend:
        connection.client.answer("rest")
        async for _ in Asking(backend).stream([*HELLO, {"role": "assistant", "content": "the"}], SamplingParams()):
            pass
        connection.client.answer("whole")
        async for _ in Asking(backend).stream(HELLO, SamplingParams()):
            pass
        assert connection.client.resumed == [True, False]


async def test_tokens_are_counted_or_estimated() -> None:
    connection = FakeConnection()
    async with living(connection) as backend:
        await until(lambda: isinstance(backend.state, Ready))
        connection.client.counts["x y"] = 2
        assert str(await backend.count_tokens("x y")) == "2"
        assert str(await backend.count_tokens("unheard of")) == "~3"


async def test_memory_is_looked_at_while_the_model_works() -> None:
    connection = FakeConnection()
    connection.client.devices = (DeviceMemory("CPU", "A processor", "cpu", 1, 2),)
    async with living(connection) as backend:
        await until(lambda: isinstance(backend.state, Ready))
        assert not backend.memory
        _, task = asked(Asking(backend))
        await until(lambda: backend.memory)
        connection.client.answer("done")
        await task
        assert backend.memory == connection.client.devices


async def test_the_clock_of_an_answer_is_kept() -> None:
    connection = FakeConnection()
    async with living(connection) as backend:
        asking = Asking(backend)
        _, task = asked(asking)
        connection.client.events.put_nowait(Prefill(5, 10))
        connection.client.answer("x")
        await task
        assert asking.watch.prefill == Prefill(5, 10)
        assert asking.watch.has_text


async def test_a_question_counts_as_asked_when_there_is_a_model_that_takes_it() -> None:
    connection = FakeConnection(ready=False)
    async with living(connection) as backend:
        connection.load(Loading(0.5))
        await until(lambda: isinstance(backend.state, Loading))
        events = Asking(backend).stream(HELLO, SamplingParams())
        first = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        assert not first.done()
        connection.load(Ready("fake", 10))
        assert await first == Asked()
        connection.client.answer("x")
        assert [event async for event in events] == [Delta("x"), Finished("stop")]


async def test_somebody_elses_server_that_is_gone_is_a_failure_until_the_next_question() -> None:
    connection = FakeConnection(address="http://x.example")
    async with living(connection) as backend:
        await until(lambda: isinstance(backend.state, Ready))
        events, task = asked(Asking(backend))
        await until(lambda: connection.client.asked)
        gone = Finished("error", error="The server at x went away.", is_lost=True)
        connection.client.events.put_nowait(gone)
        await task
        assert events == [gone]
        assert backend.state == Failed("The server at x went away.")
        backend.revive()
        await until(lambda: isinstance(backend.state, Ready))
        assert connection.lives == 2


async def test_a_load_that_is_given_up_leaves_no_plan() -> None:
    connection = FakeConnection(ready=False)
    async with living(connection) as backend:
        connection.load(Planned(SMALL_PLAN))
        connection.load(Loading(0.5))
        await until(lambda: isinstance(backend.state, Loading))
        assert backend.planned is not None
        backend.cancel()
        assert backend.planned is None


def servers(model: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if str(model.resolve()) in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@pytest.mark.parametrize("when", ["starting", "loading"])
async def test_a_real_server_whose_load_is_given_up_ends(demo_gguf: Path, when: str) -> None:
    backend = Backend(LocalServer(demo_gguf, "demo", ServeOptions(ctx=256)))
    backend.start()
    if when == "loading":
        await until(lambda: not isinstance(backend.state, Starting))
    else:
        await until(lambda: servers(demo_gguf))
    backend.cancel()
    await until(lambda: not servers(demo_gguf))
    backend.start()
    events = [event async for event in Asking(backend).stream(HELLO, SamplingParams(max_tokens=3))]
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "length"
    await backend.close()
    for server in servers(demo_gguf):
        server.kill()  # it would stay for some seconds, in case somebody comes again
    await until(lambda: not servers(demo_gguf))


async def test_an_event_that_was_there_already_does_not_save_an_answer_from_a_switch() -> None:
    first, second = FakeConnection(), FakeConnection(ready=False)
    async with living(first, second) as backend:
        events, task = asked(Asking(backend))
        await until(lambda: first.client.asked)
        first.client.say("x")
        backend.switch(second)
        await task
        assert events[-1] == Finished("cancelled")
        assert first.client.closed == 1


async def test_a_switch_while_a_refusal_is_looked_into_ends_the_answer() -> None:
    first, second = FakeConnection(), FakeConnection(ready=False)
    async with living(first, second) as backend:
        events, task = asked(Asking(backend))
        await until(lambda: first.client.asked)
        first.client.events.put_nowait(Finished("error", error="The prompt is too long."))
        await until(first.client.events.empty)
        backend.switch(second)
        async with asyncio.timeout(SECONDS):
            await task
        assert events == [Finished("cancelled")]


async def test_a_refusal_of_a_server_that_lives_is_told_as_it_came() -> None:
    connection = FakeConnection()
    async with living(connection) as backend:
        events, task = asked(Asking(backend))
        connection.client.events.put_nowait(Finished("error", error="The prompt is too long."))
        await task
        assert events == [Finished("error", error="The prompt is too long.")]


async def test_an_answer_of_a_server_that_dies_tells_why_even_if_another_one_is_started() -> None:
    connection = FakeConnection()
    async with living(connection) as backend:
        events, task = asked(Asking(backend))
        await until(lambda: connection.client.asked)
        connection.client.events.put_nowait(Finished("error", error="The connection broke."))
        connection.die("It was killed.")
        await task
        assert events == [Finished("error", error="It was killed.")]


@pytest.mark.parametrize("died", [True, False])
async def test_a_question_to_a_server_that_was_dead_already_goes_to_the_next_one(died: bool) -> None:
    connection = FakeConnection()
    first, second = connection.client, FakeClient()
    async with living(connection) as backend:
        events, task = asked(Asking(backend))
        await until(lambda: first.asked)
        connection.client = second
        second.answer("Hello")
        if not died:
            first.say("It had")  # so that it is no question any more that nobody got
        first.events.put_nowait(Finished("error", error="Nobody answers.", is_lost=True))
        connection.die("It was killed.")
        await task
    if died:
        assert events == [Delta("Hello"), Finished("stop")]
        assert connection.lives == 2
    else:
        assert events == [Delta("It had"), Finished("error", error="It was killed.", is_lost=True)]
        assert connection.lives == 1
