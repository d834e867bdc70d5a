"""The chat in a browser, which is played by a WebSocket."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import aiohttp
import psutil
import pytest

from localqwen import paths
from tests.tui.scripted_server import scripted_server
from tests.tui.test_web import free_port

SECONDS = 60.0


async def until_painted(socket: aiohttp.ClientWebSocketResponse, text: bytes) -> None:
    painted = b""
    async with asyncio.timeout(SECONDS):
        while text not in painted:
            message = await socket.receive()
            assert message.type in {aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT}, painted[-2000:]
            painted += message.data if isinstance(message.data, bytes) else b""


def addresses(process: int) -> set[str]:
    """Where a process and its children listen."""
    parent = psutil.Process(process)
    return {
        listener.laddr.ip
        for one in (parent, *parent.children(recursive=True))
        for listener in one.net_connections("inet")
        if listener.status == psutil.CONN_LISTEN
    }


@pytest.mark.parametrize(
    ("settings", "term"), [("", "xterm-256color"), ("[view]\nplain = true\n", "xterm-256color"), ("", "dumb")]
)
async def test_a_talk_in_the_browser(home: Path, settings: str, term: str) -> None:
    """Also where the terminal that ``--web`` is typed into gets a chat in lines."""
    paths.settings_path().parent.mkdir(parents=True)
    paths.settings_path().write_text(settings)
    env = {**os.environ, "LOCALQWEN_HOME": str(home), "PYTHONUNBUFFERED": "1", "TERM": term}
    with scripted_server("Tokyo") as server:
        command = ["-m", "localqwen", "chat", "--web", "--port", str(free_port()), "--endpoint", server.url]
        chat = await asyncio.create_subprocess_exec(
            sys.executable, *command, env=env, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
        )
        try:
            assert chat.stdout is not None
            line = (await asyncio.wait_for(chat.stdout.readline(), SECONDS)).decode()
            address = re.findall(r"http://127\.0\.0\.1:[0-9]+/[^ ]+/", line)[0]
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(f"{address}ws?width=100&height=30") as socket,
            ):
                await until_painted(socket, b"Ask anything")
                await socket.send_json(["stdin", "Capital of Japan?\r"])
                await until_painted(socket, b"Tokyo")
                assert addresses(chat.pid) == {"127.0.0.1"}
                chat.send_signal(signal.SIGINT)
                while (await socket.receive(SECONDS)).type in {aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT}:
                    pass
            assert await asyncio.wait_for(chat.wait(), SECONDS) == 0
        finally:
            if chat.returncode is None:
                chat.kill()
                await chat.wait()
        assert server.asked[0][-1]["content"] == "Capital of Japan?"
