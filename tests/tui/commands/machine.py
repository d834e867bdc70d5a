"""Deeds of the commands about the model, the machine and the app."""

from __future__ import annotations

from textual.command import CommandPalette
from textual.widgets import Static

from localqwen.events import Loading, Planned
from localqwen.settings import read
from tests.tui.commands.deeds import deed
from tests.tui.commands.ways import Do
from tests.tui.plans import SMALL_PLAN
from tests.tui.stage import Stage
from tui.commands import COMMANDS, key_label
from tui.keymap import DEFAULTS
from tui.screens.help import HelpScreen
from tui.screens.models import ModelsScreen
from tui.screens.plan import PlanScreen
from tui.screens.settings import SettingsScreen


@deed("model.choose")
async def choose(stage: Stage, do: Do) -> None:
    await stage.ask("Who are you?", "The fake one.")
    await do()
    await stage.opens(ModelsScreen)
    await stage.sees("other-7b", "too-large-72b", "GB too large")
    await stage.press("down", "up", "enter")
    await stage.is_back()
    await stage.sees("The fake one.", "other-7b  ready")
    assert stage.app.backend.connection is not stage.connection
    assert stage.kept_texts == ["Who are you?", "The fake one."]


@deed("model.cancel")
async def cancel(stage: Stage, do: Do) -> None:
    await do()
    await stage.sees("Nothing is being loaded.")
    stage.connection.load(Loading(0.4))
    await stage.sees("loading", "40%")
    await do()
    await stage.sees("Loading was cancelled")
    assert stage.connection.given_up == 1


@deed("plan")
async def plan(stage: Stage, do: Do) -> None:
    stage.app.backend.loaded(stage.client, Planned(SMALL_PLAN))
    await do()
    await stage.opens(PlanScreen)
    await stage.sees("CUDA0", "layers 0 to 23, output", "decode 45.6 tok/s")
    await stage.press("escape")
    await stage.is_back()


@deed("settings")
async def settings(stage: Stage, do: Do) -> None:
    await do()
    await stage.opens(SettingsScreen)
    await stage.fill("#setting-temperature", "0.5")
    await stage.press("ctrl+s")
    await stage.is_back()
    await stage.ask("And now?", "Cooler.")
    assert stage.client.params[-1].temperature == 0.5
    assert stage.settings_path is not None
    assert read(stage.settings_path)[0].temperature == 0.5


@deed("view.sidebar")
async def sidebar(stage: Stage, do: Do) -> None:
    await stage.sees("Conversations")
    await do()
    await stage.misses("Conversations")
    assert stage.composer.query_one("#composer-text").has_focus
    await do()
    await stage.sees("Conversations")


@deed("view.theme")
async def theme(stage: Stage, do: Do) -> None:
    before = stage.app.theme
    given = await do("localqwen-light")
    await stage.until(lambda: stage.app.theme != before)
    assert stage.app.theme == "localqwen-light"
    assert str(stage.app.chat.styles.background.hex) == "#FBFAF7"
    if given:
        await do("no-such-theme")
        await stage.sees("There is no theme no-such-theme")


@deed("help")
async def help_(stage: Stage, do: Do) -> None:
    await do()
    await stage.opens(HelpScreen)
    await stage.sees("Commands and keys", "send the message")
    text = str(stage.app.screen.query_one("#help-text", Static).render())
    assert all(f"/{command.name}" in text for command in COMMANDS if command.in_palette)
    assert all(key_label(keys) in text for keys in DEFAULTS.values())
    await stage.press("escape")
    await stage.is_back()


@deed("palette")
async def palette(stage: Stage, do: Do) -> None:
    await do()
    await stage.opens(CommandPalette)
    await stage.press("escape")
    await stage.is_back()


@deed("quit")
async def quit_(stage: Stage, do: Do) -> None:
    await stage.begin("A long one", "it begins")
    await do()
    await stage.until(lambda: not stage.app.is_running)
    assert [(m.text, m.state) for m in stage.kept] == [("A long one", "done"), ("it begins", "stopped")]
