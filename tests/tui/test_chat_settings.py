"""The system prompt and sampling of one conversation, presets, and what stands behind them."""

from __future__ import annotations

import pytest
from textual.widgets import Button, Input, Select, TextArea

from localqwen.chats.store import Store
from localqwen.params import SamplingParams
from localqwen.settings import Settings
from tests.tui.fakes import FakeConnection
from tests.tui.stage import Stage, staged
from tui.screens.chat_settings import ChatSettingsScreen


async def opened(stage: Stage) -> None:
    await stage.slash("chat")
    await stage.opens(ChatSettingsScreen)
    await stage.until(lambda: stage.app.screen.query("#preset"))


async def taken(stage: Stage) -> None:
    await stage.press("ctrl+s")
    await stage.is_back()


async def test_the_chats_own_wishes_go_before_the_command_line_and_that_before_the_settings(store: Store) -> None:
    settings = Settings(temperature=0.9, top_k=10, seed=1, system_prompt="From the settings.")
    async with staged(store, settings=settings, params=SamplingParams(top_k=20, seed=2)) as stage:
        await opened(stage)
        await stage.sees("From the settings.")
        await stage.fill("#param-seed", "3")
        await taken(stage)
        await stage.ask("And?", "So.")
        params = stage.client.params[0]
        assert (params.temperature, params.top_k, params.seed) == (0.9, 20, 3)
        assert stage.client.asked[0][0] == {"role": "system", "content": "From the settings."}
        assert stage.kept[-1].params == params


async def test_what_counts_where_nothing_is_set_is_shown_with_its_number(store: Store) -> None:
    settings, params = Settings(top_k=10, seed=1), SamplingParams(temperature=0.2, seed=2)
    connection = FakeConnection(sampling=SamplingParams(temperature=0.7, top_p=0.8, top_k=20))
    async with staged(store, connection, settings=settings, params=params) as stage:
        await stage.sees("ready")
        await opened(stage)
        fields = stage.app.screen.query(Input)
        shown = {field.id: str(field.placeholder) for field in fields if (field.id or "").startswith("param-")}
        assert shown["param-temperature"] == "0.2"
        assert shown["param-top_p"] == "0.8, the model's own"
        assert shown["param-top_k"] == "10"
        assert shown["param-seed"] == "2"
        assert shown["param-min_p"] == "the model's own"
        await stage.press("escape")
        await stage.is_back()
        await stage.press("f8")
        await stage.until(lambda: stage.app.screen.query("#setting-top_p"))
        assert stage.app.screen.query_one("#setting-top_p", Input).placeholder == "0.8, the model's own"


async def test_a_preset_is_kept_taken_and_forgotten(store: Store) -> None:
    async with staged(store) as stage:
        await opened(stage)
        await stage.fill("#system", "You are a pirate.")
        await stage.fill("#param-temperature", "1.5")
        await stage.fill("#preset-name", "Pirate")
        await stage.pilot.click("#keep-preset")
        await stage.until(lambda: [one.name for one in store.presets()] == ["Pirate"])
        await stage.press("escape")
        await stage.is_back()
        assert stage.open.system == ""

        await stage.press("ctrl+n")
        await opened(stage)
        stage.app.screen.query_one("#preset", Select).value = store.presets()[0].id
        await stage.sees("You are a pirate.", "1.5")
        await taken(stage)
        await stage.until(lambda: stage.open.params.temperature == 1.5)
        await stage.ask("Ahoy?", "Arr.")
        assert stage.client.asked[0][0] == {"role": "system", "content": "You are a pirate."}
        assert stage.client.params[0].temperature == 1.5

        await opened(stage)
        stage.app.screen.query_one("#preset", Select).value = store.presets()[0].id
        await stage.pilot.click("#forget-preset")
        await stage.sees("Press Forget again")
        await stage.until(lambda: not stage.app.screen.query(Button).filter(".-active"))
        assert store.presets()
        await stage.pilot.click("#forget-preset")
        await stage.until(lambda: store.presets() == [])


async def test_a_preset_is_changed_by_keeping_it_twice_under_its_name(store: Store) -> None:
    store.add_preset("Pirate", "Arr.", SamplingParams(seed=1))
    async with staged(store) as stage:
        await opened(stage)
        await stage.fill("#system", "Arr, arr.")
        await stage.fill("#preset-name", "Pirate")
        await stage.pilot.click("#keep-preset")
        await stage.sees("press Keep again to change it")
        await stage.until(lambda: not stage.app.screen.query(Button).filter(".-active"))
        assert [one.system for one in store.presets()] == ["Arr."]
        await stage.pilot.click("#keep-preset")
        await stage.until(lambda: [(one.system, one.params.seed) for one in store.presets()] == [("Arr, arr.", None)])
        await stage.press("escape")  # it is kept, so nothing is lost
        await stage.is_back()


async def test_what_is_typed_is_lost_by_no_single_key(store: Store) -> None:
    store.add_preset("Pirate", "Arr.", SamplingParams())
    async with staged(store) as stage:
        await opened(stage)
        await stage.write("Mine.")  # the first field has the focus
        assert stage.app.screen.query_one("#system", TextArea).text == "Mine."
        for _ in range(2):
            await stage.sees("Mine.")
            stage.app.screen.query_one("#preset", Select).value = store.presets()[0].id
            await stage.pilot.pause()
        await stage.sees("Arr.")
        await stage.write("!")
        await stage.fill("#param-seed", "3")
        await stage.press("ctrl+q")
        await stage.sees("Ctrl+Q again gives the changes up")
        assert stage.app.is_running
        await stage.fill("#param-seed", "")
        await stage.press("ctrl+q")
        await stage.until(lambda: not stage.app.is_running)
    assert store.unfinished(store.chats()[0].id, None) == "!Arr."


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("temperature", "hot", "must be a number from 0 to 2"),
        ("temperature", "nan", "must be a number from 0 to 2"),
        ("temperature", "inf", "must be a number from 0 to 2"),
        ("top_p", "-inf", "must be a number from 0.001 to 1"),
        ("max_tokens", "0", "from 1"),
        ("seed", "1.5", "whole"),
    ],
)
async def test_what_cannot_be_used_is_said_and_nothing_taken(store: Store, field: str, text: str, said: str) -> None:
    async with staged(store) as stage:
        await opened(stage)
        await stage.fill(f"#param-{field}", text)
        await stage.press("ctrl+s")
        await stage.sees(said)
        assert isinstance(stage.app.screen, ChatSettingsScreen)
        await stage.press("escape")
        await stage.sees("again gives the changes up")
        await stage.press("escape")
        await stage.is_back()
        assert stage.open.params == SamplingParams()


async def test_settings_outlive_the_app(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("First?", "Yes.")
        await opened(stage)
        await stage.fill("#system", "Be brief.")
        await stage.fill("#param-top_p", "0.5")
        await taken(stage)
        await stage.until(lambda: stage.chat.params.top_p == 0.5)
    async with staged(store) as stage:
        await stage.press("ctrl+l", "enter")
        await stage.sees("Yes.")
        await stage.ask("And now?", "No.")
        assert stage.client.asked[0][0] == {"role": "system", "content": "Be brief."}
        assert stage.client.params[0].top_p == 0.5
        await opened(stage)
        await stage.sees("Be brief.", "0.5")


async def test_an_empty_field_is_the_default_again(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("First?", "Yes.")
        await opened(stage)
        await stage.fill("#param-temperature", "0.5")
        await taken(stage)
        await stage.until(lambda: stage.chat.params.temperature == 0.5)
        await opened(stage)
        await stage.fill("#param-temperature", " ")
        await taken(stage)
        await stage.until(lambda: stage.chat.params.temperature is None)


async def test_a_preset_s_name_is_no_markup(store: Store) -> None:
    store.add_preset("[b]Pirate[/]", "", SamplingParams())
    async with staged(store) as stage:
        await opened(stage)
        stage.app.screen.query_one("#preset", Select).expanded = True
        await stage.sees("[b]Pirate[/]")
