"""One call, some time from now."""

from __future__ import annotations

import asyncio

import pytest
from textual._context import active_message_pump
from textual.app import App
from textual.message_pump import MessagePump
from textual.widget import Widget

from tui.later import Later


async def test_it_is_called_once_as_a_part_of_its_owner() -> None:
    app = App[None]()
    async with app.run_test() as pilot:
        called: list[MessagePump] = []
        done = asyncio.Event()

        def call() -> None:
            called.append(active_message_pump.get())
            done.set()

        later = Later(app.screen, call)
        assert not later.is_set
        later.set(0.001)
        later.set(0)
        assert later.is_set
        await asyncio.wait_for(done.wait(), 20)
        await pilot.pause()
        assert called == [app.screen]
        assert not later.is_set


async def test_what_was_cancelled_is_not_called() -> None:
    app = App[None]()
    async with app.run_test():
        called: list[int] = []
        later, other = Later(app.screen, lambda: called.append(1)), asyncio.Event()
        later.set(0)
        later.cancel()
        assert not later.is_set
        asyncio.get_running_loop().call_later(0.001, other.set)
        await asyncio.wait_for(other.wait(), 20)
        assert not called


async def test_an_owner_that_is_gone_is_left_alone() -> None:
    app = App[None]()
    async with app.run_test() as pilot:
        widget, called = Widget(), []
        await app.screen.mount(widget)
        later = Later(widget, lambda: called.append(1))
        await widget.remove()
        later.set(0)
        await pilot.pause()
        assert not later.is_set
        assert not called


async def test_a_mistake_ends_the_app_as_in_a_timer() -> None:
    app = App[None]()

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with app.run_test() as pilot:
            Later(app.screen, fail).set(0)
            await pilot.pause()
            await pilot.pause()
