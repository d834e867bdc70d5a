"""The chat in a browser: for this machine only, and nothing from elsewhere."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import textual_serve
from aiohttp import web

from localqwen.errors import LocalqwenError
from tui.web import HOST, WebChat, serve_chat

APP = "import sys; sys.stdout.buffer.write(b'__GANGLION__\\n'); sys.stdout.buffer.flush(); sys.stdin.read()"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def served() -> AsyncIterator[tuple[WebChat, aiohttp.ClientSession]]:
    chat = WebChat(f'{sys.executable} -c "{APP}"', free_port(), lambda _: None)
    runner = web.AppRunner(await chat._make_app())
    await runner.setup()
    await web.TCPSite(runner, HOST, chat.port).start()
    try:
        async with aiohttp.ClientSession() as session:
            yield chat, session
    finally:
        await runner.cleanup()


async def test_the_page_names_no_other_host() -> None:
    async with served() as (chat, session), session.get(chat.address) as response:
        page = await response.text()
        assert response.status == 200
        assert set(re.findall(r"(?:https?|wss?):/*([^/\"'\s]*)", page)) == {f"{HOST}:{chat.port}"}
        assert "//fonts" not in page
        policy = response.headers["Content-Security-Policy"]
        assert re.findall(r"[a-z]+://\S+", policy) == [f"ws://{HOST}:{chat.port};"]
        assert response.headers["Referrer-Policy"] == "no-referrer"
        for path in re.findall(r'(?:src|href)="(/[^"]+)"', page):
            async with session.get(f"http://{HOST}:{chat.port}{path}") as part:
                assert part.status == 200


def test_the_librarys_files_fetch_nothing_from_elsewhere() -> None:
    static = Path(textual_serve.__file__).parent / "static"
    fetched = re.compile(rb"(?:url\(|@import |src=|href=)[\"']?(?:https?:)?//")
    for file in [*static.rglob("*.js"), *static.rglob("*.css")]:
        assert not fetched.search(file.read_bytes()), file


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "localhost:1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://{HOST}:1"},
    ],
)
async def test_other_names_and_other_pages_are_refused(headers: dict[str, str]) -> None:
    async with served() as (chat, session):
        async with session.get(chat.address, headers=headers) as response:
            assert response.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await session.ws_connect(chat.address + "ws", headers=headers)


async def test_without_the_secret_there_is_nothing() -> None:
    async with served() as (chat, session):
        for path in ("/", "/ws", "/static/js/textual.js", "/x/", "/download/x"):
            async with session.get(f"http://{HOST}:{chat.port}{path}") as response:
                assert response.status == 404


async def test_a_browser_gets_a_process_of_its_own() -> None:
    async with served() as (chat, session), session.ws_connect(chat.address + "ws?width=80&height=24") as socket:
        await socket.send_json(["ping", "x"])
        assert await socket.receive_json(timeout=30) == ["pong", "x"]


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server((HOST, 0)) as taken, pytest.raises(LocalqwenError, match="choose another with --port"):
        serve_chat(["true"], taken.getsockname()[1], lambda _: None)
