"""The help: all keys that there are, as they are now; and keys that were fixed once, under others."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.command import CommandPalette
from textual.widgets import Static

from localqwen.chats.store import Store
from localqwen.settings import Settings
from tests.tui.fakes import GB, FakeSource
from tests.tui.stage import Stage, staged
from tui.commands import BY_ID, COMMANDS, key_label
from tui.keymap import DEFAULTS, OWN_KEYS
from tui.model_list import ModelRow
from tui.screens.forget import ForgetScreen
from tui.screens.help import HelpScreen
from tui.screens.line import LineScreen
from tui.screens.models import ModelsScreen
from tui.screens.search import SearchScreen

LABELS = {one.name: one.label for named in OWN_KEYS.values() for one in named}
OTHERS = {name: f"ctrl+alt+f{number}" for number, name in enumerate(DEFAULTS, 1)}


def lines(keymap: dict[str, str]) -> list[str]:
    return [line.plain for line in HelpScreen(keymap)._lines(300)]


def about(name: str, shown: list[str]) -> str:
    what = BY_ID[name].help if name in BY_ID else LABELS[name][1:]
    found = [line for line in shown if line.endswith(what)]
    assert found, name
    return "\n".join(found)


@pytest.mark.parametrize("keymap", [{}, OTHERS], ids=["defaults", "others"])
def test_every_key_is_there_as_it_is_now(keymap: dict[str, str]) -> None:
    shown = lines(keymap)
    for name, keys in (DEFAULTS | keymap).items():
        assert key_label(keys) in about(name, shown)
    for command in COMMANDS:
        assert not command.in_palette or f"/{command.name}" in about(command.id, shown)


def test_no_two_of_one_place_are_called_the_same() -> None:
    for named in OWN_KEYS.values():
        assert len({one.label for one in named}) == len(named)


async def test_it_shows_the_keys_of_the_settings_and_opens_and_closes_with_its_own(store: Store) -> None:
    keys = (("help", "f10"), ("composer.undo", "f6"), ("dialog.close", "x"), ("palette", "f11"), ("find.next", "f12"))
    async with staged(store, settings=Settings(keys=keys), size=(140, 40)) as stage:
        for closing in ("f10", "x", "escape"):
            await stage.press("f10")
            await stage.opens(HelpScreen)
            await stage.sees("break the line")
            text = str(stage.app.screen.query_one("#help-text", Static).render())
            assert all(key in text for key in ("F6", "F11", "F12", "X", "F10"))
            assert "Ctrl+P" not in text
            await stage.press("f1", "q", "enter")
            await stage.opens(HelpScreen)
            await stage.press(closing)
            await stage.is_back()
        await stage.press("ctrl+p", "f11")
        await stage.opens(CommandPalette)


async def search_below(stage: Stage) -> SearchScreen:
    await stage.opens(SearchScreen)
    screen = stage.app.screen
    assert isinstance(screen, SearchScreen)
    return screen


async def test_the_keys_of_lines_and_lists_can_be_others(store: Store) -> None:
    keys = (("dialog.take", "f10"), ("dialog.next", "f11"), ("dialog.previous", "f12"))
    async with staged(store, settings=Settings(keys=keys)) as stage:
        await stage.ask("Two penguins", "Penguins swim.")
        await stage.slash("search penguins")
        await stage.sees("3 found · F10 opens, Esc closes")
        await stage.press("enter", "down")
        await search_below(stage)
        await stage.press("f11", "f12", "f11", "f10")
        await stage.is_back()
        await stage.until(lambda: stage.marked)
        await stage.slash("rename")
        await stage.opens(LineScreen)
        await stage.sees("F10 takes it")
        await stage.fill("#line", "Birds")
        await stage.press("enter")
        await stage.opens(LineScreen)
        await stage.press("f10")
        await stage.until(lambda: stage.chat.title == "Birds")
        await stage.slash("temporary")
        await stage.ask("A secret", "Yes.")
        await stage.press("ctrl+n")
        await stage.opens(ForgetScreen)
        await stage.sees("F10 leaves it")
        await stage.press("enter")
        await stage.opens(ForgetScreen)
        await stage.press("f10")
        await stage.is_back()


async def test_what_is_said_of_a_model_names_the_key_that_opens_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = ModelRow("other-7b", "Other", 5 * GB, 32768, 131072, Path("o.gguf"))
    monkeypatch.setattr("tui.model_source.source_for", lambda *_: FakeSource(row))
    async with staged(store, settings=Settings(keys=(("dialog.take", "f10"),))) as stage:
        await stage.press("f9")
        await stage.sees("F10 opens it")
        await stage.press("enter")
        await stage.opens(ModelsScreen)
        await stage.press("f10")
        await stage.is_back()
        await stage.sees("other-7b  ready")


async def test_hints_of_the_list_and_of_notices_name_the_keys_that_count(store: Store) -> None:
    keys = (("answer.stop", "f12"),)
    async with staged(store, settings=Settings(keys=keys)) as stage:
        await stage.begin("A question", "An answer that")
        await stage.press("ctrl+l")
        await stage.sees("Enter opens, r names")
        await stage.press("delete")
        await stage.hears_of("stop that first (F12)")
