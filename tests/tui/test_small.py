"""Small terminals, down to 40 columns and 10 lines: what can be typed into is seen, and what the keys do."""

from __future__ import annotations

import pytest

from localqwen.chats.store import Store
from localqwen.settings import Settings
from tests.tui.stage import staged
from tui.screens.chat_settings import ChatSettingsScreen
from tui.screens.settings import SettingsScreen

SMALL = (40, 10)
SIZES = [SMALL, (50, 16), (80, 23), (80, 24)]


async def test_the_find_bar_leaves_room_for_the_words(store: Store) -> None:
    async with staged(store, size=SMALL) as stage:
        await stage.ask("A bird?", "The penguin.")
        await stage.press("f3")
        await stage.write("the penguin")
        await stage.sees("the penguin")


async def test_the_fields_of_a_conversation_are_seen_and_typed_into(store: Store) -> None:
    async with staged(store, size=SMALL) as stage:
        await stage.slash("chat")
        await stage.opens(ChatSettingsScreen)
        await stage.write("Be brief.")
        await stage.sees("Be brief.", "Ctrl+S takes it")
        await stage.press("tab")
        await stage.write("0.25")
        await stage.sees("0.25")


async def test_the_settings_are_seen_and_typed_into(store: Store) -> None:
    async with staged(store, size=SMALL, settings=Settings()) as stage:
        await stage.press("f8")
        await stage.opens(SettingsScreen)
        await stage.sees("localqwen-dark")
        await stage.press(*["tab"] * 5)
        await stage.write("my-editor")
        await stage.sees("my-editor")


async def test_a_complaint_at_the_start_leaves_the_composer_alone(store: Store) -> None:
    said = "settings.toml, line 3: there is no table [colours], so nothing in it counts until that is mended."
    async with staged(store, size=SMALL, complaints=[said]) as stage:
        await stage.hears_of("there is no table")
        await stage.write("Hello there")
        await stage.sees("Hello there", "Enter sends")


@pytest.mark.parametrize("size", SIZES)
async def test_what_grows_leaves_room_for_the_hint(store: Store, size: tuple[int, int]) -> None:
    async with staged(store, size=size) as stage:
        for number in range(12):
            await stage.ask(f"Bird {number}?\n" * 30, "The penguin.")
        await stage.slash("chat")
        await stage.sees("Ctrl+S takes it")
        await stage.press("escape", "f4")
        await stage.write("penguin")
        await stage.sees("Enter opens, Esc closes")
        await stage.press("escape", "f5")
        await stage.sees("Ctrl+S")
        await stage.press("escape", "f8")
        await stage.sees("Ctrl+S saves, Esc cancels")
