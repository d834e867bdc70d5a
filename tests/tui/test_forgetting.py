"""A temporary conversation goes only after a question, for it cannot be had back."""

from __future__ import annotations

import pytest

from localqwen.chats.store import Store
from tests.tui.stage import Stage, staged
from tui.screens.forget import ForgetScreen


async def a_temporary_one(stage: Stage) -> None:
    await stage.ask("Kept?", "Yes.")
    await stage.slash("temporary")
    await stage.ask("A secret?", "Nobody knows.")


@pytest.mark.parametrize("way", ["new", "temporary", "list"])
async def test_leaving_it_asks_first(store: Store, way: str) -> None:
    async def leave(stage: Stage) -> None:
        await (stage.press("ctrl+l", "down", "enter") if way == "list" else stage.slash(way))
        await stage.opens(ForgetScreen)
        await stage.sees("This conversation is kept nowhere")

    async with staged(store) as stage:
        await a_temporary_one(stage)
        await leave(stage)
        await stage.press("escape")
        await stage.is_back()
        await stage.sees("Nobody knows.")
        await leave(stage)
        await stage.press("enter")
        await stage.misses("Nobody knows.")


async def test_quitting_asks_first_and_the_second_time_means_it(store: Store) -> None:
    async with staged(store) as stage:
        await a_temporary_one(stage)
        await stage.press("ctrl+q")
        await stage.opens(ForgetScreen)
        await stage.press("escape")
        await stage.is_back()
        await stage.press("ctrl+q")
        await stage.opens(ForgetScreen)
        await stage.press("ctrl+q")
        await stage.until(lambda: not stage.app.is_running)


async def test_without_messages_there_is_no_question(store: Store) -> None:
    async with staged(store) as stage:
        await stage.slash("temporary")
        await stage.sees("Temporary: nothing is kept")
        await stage.press("ctrl+n")
        await stage.sees("New conversation")


async def test_its_answer_ends_when_it_is_left(store: Store) -> None:
    async with staged(store) as stage:
        await stage.slash("temporary")
        await stage.begin("A secret?", "Nobody")
        await stage.slash("new")
        await stage.opens(ForgetScreen)
        await stage.press("enter")
        await stage.until(lambda: stage.client.closed == 1)
