"""A private server leaves when nobody has used it for a while."""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope, Send

from localqwen.server.presence import ATTACH_PATH, Presence

HOUR = 3600.0


async def nothing(*_: object) -> None:
    return None


async def start(presence: Presence) -> None:
    await presence({"type": "lifespan"}, nothing, nothing)  # type: ignore[arg-type]


async def request(presence: Presence, path: str) -> None:
    await presence({"type": "http", "path": path}, nothing, nothing)  # type: ignore[arg-type]


async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
    return None


async def test_it_leaves_if_nobody_comes() -> None:
    left = asyncio.Event()
    await start(Presence(app, left.set, first_seconds=0, idle_seconds=0.001))
    await left.wait()


async def test_it_leaves_after_the_last_attached_client() -> None:
    left = asyncio.Event()
    presence = Presence(app, left.set, first_seconds=HOUR, idle_seconds=0.001)
    await start(presence)
    await request(presence, ATTACH_PATH)
    await left.wait()


async def test_it_waits_for_the_first_client_to_attach() -> None:
    presence = Presence(app, lambda: None, first_seconds=HOUR, idle_seconds=0)
    await start(presence)
    await request(presence, "/health")
    assert presence._timer is not None
    assert presence._timer.when() > asyncio.get_running_loop().time() + HOUR / 2


async def test_it_stays_while_a_request_is_open() -> None:
    over = asyncio.Event()

    async def slow(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await over.wait()

    left = asyncio.Event()
    presence = Presence(slow, left.set, first_seconds=HOUR, idle_seconds=0.001)
    task = asyncio.ensure_future(request(presence, ATTACH_PATH))
    other = asyncio.ensure_future(request(presence, ATTACH_PATH))
    await asyncio.sleep(0)  # let both begin
    assert presence._timer is None
    presence.hurry()
    assert presence._timer is None
    over.set()
    await asyncio.gather(task, other)
    await left.wait()


async def test_a_load_that_nobody_waits_for_any_more_is_given_up() -> None:
    left = asyncio.Event()
    presence = Presence(app, left.set, first_seconds=HOUR, idle_seconds=HOUR, is_loading=lambda: True)
    await start(presence)
    await request(presence, ATTACH_PATH)
    await left.wait()


async def test_a_load_goes_on_as_long_as_one_client_waits() -> None:
    over = asyncio.Event()

    async def first_is_slow(_scope: Scope, _receive: Receive, _send: Send) -> None:
        if presence._active == 1:
            await over.wait()

    presence = Presence(first_is_slow, lambda: None, first_seconds=HOUR, idle_seconds=HOUR, is_loading=lambda: True)
    await start(presence)
    waiting = asyncio.ensure_future(request(presence, ATTACH_PATH))
    await asyncio.sleep(0)
    await request(presence, ATTACH_PATH)
    assert presence._timer is None
    over.set()
    await waiting
