"""The model and where it runs: servers that die, that are elsewhere, and what the plan shows."""

from __future__ import annotations

from localqwen.chats.store import Store
from localqwen.device_memory import DeviceMemory
from localqwen.events import Finished, Planned, Ready
from tests.tui.fakes import SIZE, FakeConnection, shows, type_text, until
from tests.tui.plans import SMALL_PLAN
from tui.app import ChatApp


async def test_a_server_that_dies_says_why_and_is_started_again(app: ChatApp, connection: FakeConnection) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        connection.client.say("half an ans")
        await until(pilot, shows(pilot, "half an ans"))
        connection.client.events.put_nowait(Finished("error", error="The connection broke."))
        connection.die("The server process was killed: memory ran out.")
        await until(pilot, shows(pilot, "half an ans", "✗ The server process was killed: memory ran out."))
        await pilot.press("b", "enter")
        connection.client.answer("back again")
        await until(pilot, shows(pilot, "back again", "half an ans"))
        assert connection.lives == 2


async def test_an_error_of_a_living_server_is_shown_as_it_is(app: ChatApp, connection: FakeConnection) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        connection.client.events.put_nowait(Finished("error", error="The prompt is too long."))
        await until(pilot, shows(pilot, "✗ The prompt is too long.", "Enter sends"))
        assert connection.lives == 1


async def test_a_remote_server_is_named(store: Store) -> None:
    app = ChatApp(store, FakeConnection(address="https://example.org"))
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, shows(pilot, "What you type goes to https://example.org."))


async def test_the_plan_is_shown_before_and_after_loading(app: ChatApp, connection: FakeConnection) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("f2")
        await until(pilot, shows(pilot, "The model is being planned"))
        await pilot.press("escape")
        app.backend.loaded(connection.client, Planned(SMALL_PLAN))
        await pilot.press("f2")
        await until(pilot, shows(pilot, "CUDA0", "layers 0 to 23, output", "decode 45.6 tok/s", "All."))
        app.backend.loaded(connection.client, Planned(SMALL_PLAN, (("CUDA0", 4400 << 20),)))
        await until(pilot, shows(pilot, "took 4,400 MiB"))


async def test_the_plan_tells_how_full_the_devices_are_while_the_model_rests(
    app: ChatApp, connection: FakeConnection
) -> None:
    connection.client.devices = (DeviceMemory("CUDA0", "A card", "gpu", 6 << 30, 8 << 30, 4 << 30),)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, shows(pilot, "ready"))
        app.backend.loaded(connection.client, Planned(SMALL_PLAN))
        await pilot.press("f2")
        await until(pilot, shows(pilot, "now 6.00 of 8.00 GiB in use, 4.00 by the model"))


async def test_a_draft_that_was_estimated_is_counted_when_the_model_is_there(store: Store) -> None:
    connection = FakeConnection(ready=False)
    connection.client.counts["early"] = 3
    app = ChatApp(store, connection)
    async with app.run_test(size=SIZE) as pilot:
        await type_text(pilot, "early")
        await until(pilot, shows(pilot, "draft about 2 tokens"))
        connection.load(Ready("fake", 8192))
        await until(pilot, shows(pilot, "draft 3 of 8,192 tokens left"))
