"""Switching models, giving up loading, and servers elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from localqwen.chats.store import Store
from localqwen.events import Loading, Ready
from tests.tui.fakes import GB, FakeConnection, FakeSource
from tests.tui.stage import Stage, staged
from tui.connections import Connection
from tui.model_list import ModelRow
from tui.screens.models import ModelsScreen
from tui.screens.plan import PlanScreen

NEXT = ModelRow("next-7b", "The next one", 5 * GB, 32768, 131072, Path("n.gguf"))


class Choice(FakeSource):
    """Leads to one connection, which the test has."""

    def __init__(self, to: FakeConnection) -> None:
        super().__init__(NEXT)
        self.to = to

    def connection(self, row: ModelRow) -> Connection:
        assert row.name == self.to.name
        return self.to


@pytest.fixture
def next_model(monkeypatch: pytest.MonkeyPatch) -> FakeConnection:
    """What is behind the only model that the picker offers; it loads when the test says so."""
    to = FakeConnection(ready=False, name="next-7b")
    monkeypatch.setattr("tui.model_source.source_for", lambda *_: Choice(to))
    return to


async def choose_next(stage: Stage) -> None:
    await stage.press("f9")
    await stage.opens(ModelsScreen)
    await stage.sees(
        "next-7b", "5.0 GB", "32k–128k", "fits on the GPU", "Enter opens it; the conversation stays.", "judged with 8k"
    )
    await stage.press("enter")
    await stage.is_back()


async def test_the_conversation_goes_on_with_the_next_model(store: Store, next_model: FakeConnection) -> None:
    async with staged(store) as stage:
        await stage.ask("Who are you?", "The first one.")
        await stage.write("and a draft")
        await choose_next(stage)
        assert stage.composer.text == "and a draft"
        next_model.load(Loading(0.5, 5 * GB // 2, 5 * GB))
        await stage.sees("next-7b", "loading", "50%, 2.5 of 5.0 GB", "The first one.")
        next_model.load(Ready("next-7b", 32768))
        await stage.sees("next-7b  ready")
        await stage.press("enter")
        await stage.until(lambda: next_model.client.asked)
        next_model.client.answer("The second one.")
        await stage.rests()
        assert [message["content"] for message in next_model.client.asked[0]] == [
            "Who are you?",
            "The first one.",
            "and a draft",
        ]
        assert [message.model for message in stage.kept] == [None, "fake", None, "next-7b"]


async def test_an_answer_on_its_way_is_kept_and_what_waits_goes_to_the_next_model(
    store: Store, next_model: FakeConnection
) -> None:
    async with staged(store) as stage:
        await stage.begin("A story", "Once upon")
        await choose_next(stage)
        await stage.sees("Once upon", "■ stopped")
        assert (stage.kept[-1].text, stage.kept[-1].state, stage.kept[-1].model) == ("Once upon", "stopped", "fake")
        await stage.slash("continue")
        await stage.pilot.pause(0)
        next_model.load(Ready("next-7b", 32768))
        await stage.until(lambda: next_model.client.asked)
        next_model.client.answer(" a time.")
        await stage.sees("Once upon a time.")
        await stage.rests()


async def test_loading_is_given_up_and_the_next_message_loads_again(store: Store) -> None:
    connection = FakeConnection(ready=False)
    async with staged(store, connection) as stage:
        connection.load(Loading(0.25))
        await stage.send("hello")
        await stage.sees("25%", "goes out when the model is loaded")
        await stage.slash("cancel-load")
        await stage.sees("Loading was cancelled")
        assert (connection.given_up, connection.lives) == (1, 1)
        assert stage.kept[0].text == "hello"
        await stage.rests()
        await stage.press("ctrl+r")
        await stage.until(lambda: connection.lives == 2)
        connection.load(Ready("fake", 4096))
        await stage.until(lambda: connection.client.asked)
        connection.client.answer("hello to you")
        await stage.sees("hello to you")
        await stage.rests()


async def test_a_model_that_is_open_already_is_not_opened_again(store: Store, next_model: FakeConnection) -> None:
    async with staged(store, FakeConnection(name="next-7b")) as stage:
        await stage.press("f9")
        await stage.sees("This model is open.")
        await stage.press("enter")
        await stage.is_back()
        assert next_model.lives == 0


async def test_a_remote_server_has_its_address_everywhere_and_no_plan(store: Store) -> None:
    connection = FakeConnection(address="https://models.example.org/v1")
    async with staged(store, connection) as stage:
        await stage.sees("What you type goes to https://models.example.org/v1.", "ready")
        await stage.press("f2")
        await stage.opens(PlanScreen)
        await stage.sees("https://models.example.org/v1 does not tell where its model lies.")
        await stage.press("escape")
        await stage.is_back()
        await stage.ask("Who are you?", "Far away.")
        await stage.press("ctrl+n")
        await stage.sees("What you type goes to https://models.example.org/v1.")


async def test_a_remote_server_that_is_not_there_says_so_and_is_asked_again(store: Store) -> None:
    connection = FakeConnection(ready=False, address="https://models.example.org/v1")
    async with staged(store, connection) as stage:
        connection.die("Nobody answers at https://models.example.org/v1.")
        await stage.sees("Nobody answers at https://models.example.org/v1.")
        await stage.send("anybody?")
        await stage.until(lambda: connection.lives == 2)
        connection.load(Ready("far", 4096))
        await stage.until(lambda: connection.client.asked)
        connection.client.answer("Here.")
        await stage.rests()
        assert stage.kept_texts == ["anybody?", "Here."]
