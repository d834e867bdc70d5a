"""Mistakes of our own do not end the chat, and are not hidden from these tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from localqwen.chats.store import Store
from tests.tui.fakes import SIZE, FakeConnection
from tests.tui.stage import Stage, staged
from tui.app import ChatApp
from tui.net import MOST, keep_pumps_alive, trace_of


class OursError(Exception):
    """A mistake that no code expects."""


def broken(*_: object, **__: object) -> None:
    api_key = "sk-secret"
    raise OursError(f"a mistake with {api_key}")


async def in_a_worker(stage: Stage) -> None:
    async def work() -> None:
        broken()

    stage.app.chat.run_worker(work())


async def in_a_command(stage: Stage) -> None:
    stage.app.chat.handlers["plan"] = broken
    await stage.press("f2")


async def in_a_slash_command(stage: Stage) -> None:
    stage.app.chat.handlers["plan"] = broken
    await stage.slash("plan")


async def in_a_callback(stage: Stage) -> None:
    stage.app.chat.call_later(broken)


async def in_a_timer(stage: Stage) -> None:
    stage.app.chat.set_timer(0.001, broken)


async def in_an_answer(stage: Stage) -> None:
    stage.client.stream = broken  # type: ignore[assignment, method-assign]
    await stage.send("Who?")


def failing(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as raised:
        return raised


def test_a_trace_names_types_and_places_and_no_message() -> None:
    inner = failing(ValueError("sk-secret"))
    inner.add_note("sk-secret")
    try:
        try:
            raise KeyError("sk-secret")
        except KeyError:
            raise BaseExceptionGroup("sk-secret", [inner, OursError("sk-secret")]) from inner
    except BaseExceptionGroup as group:
        trace = trace_of(group)
    assert "sk-secret" not in trace.replace('("sk-secret"', "")  # but for the lines of this file
    assert all(name in trace for name in ("ValueError", "ExceptionGroup", "OursError", "in failing"))


def test_a_trace_of_exceptions_that_lead_to_each_other_ends() -> None:
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert trace_of(first).count("Traceback") == 2


WAYS = [in_a_worker, in_a_command, in_a_slash_command, in_a_callback, in_a_timer, in_an_answer]


@pytest.fixture
def sturdy(store: Store, tmp_path: Path) -> Iterator[ChatApp]:
    app = ChatApp(store, FakeConnection(), log=tmp_path / "logs" / "chat.log")
    let_go = keep_pumps_alive(app.caught)
    yield app
    let_go()


@pytest.mark.parametrize("breaking", WAYS)
async def test_the_chat_goes_on_and_says_so(
    store: Store, sturdy: ChatApp, tmp_path: Path, breaking: Callable[[Stage], Awaitable[None]]
) -> None:
    async with sturdy.run_test(size=SIZE, notifications=True) as pilot:
        connection = sturdy.backend.connection
        assert isinstance(connection, FakeConnection)
        stage = Stage(sturdy, pilot, store, connection)
        await stage.sees("ready")
        stream = stage.client.stream
        await breaking(stage)
        await stage.hears_of("Something went wrong in localqwen itself (OursError). The conversation is kept")
        stage.client.stream = stream  # type: ignore[method-assign]
        await stage.rests()
        await stage.ask("And now?", "All is well.")
        log = tmp_path / "logs" / "chat.log"
        await stage.until(lambda: log.exists() and "OursError" in log.read_text())
        assert stage.kept_texts[-2:] == ["And now?", "All is well."]
    assert "sk-secret" not in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("breaking", WAYS[:-1])
async def test_without_a_log_a_test_sees_the_mistake(
    store: Store, breaking: Callable[[Stage], Awaitable[None]]
) -> None:
    with pytest.raises(Exception, match="a mistake"):
        async with staged(store) as stage:
            await stage.sees("ready")
            await breaking(stage)
            await stage.until(lambda: not stage.app.is_running)


async def test_what_fails_again_and_again_ends_the_chat_without_telling_what_variables_hold(
    store: Store, sturdy: ChatApp, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Exception, match="a mistake"):
        async with sturdy.run_test(size=SIZE) as pilot:
            for _ in range(MOST + 1):
                sturdy.chat.call_later(broken)
            await Stage(sturdy, pilot, store, FakeConnection()).until(lambda: not sturdy.is_running)
    said = "".join(str(part) for part in sturdy._exit_renderables) + "".join(capsys.readouterr())
    assert "sk-secret" not in said
