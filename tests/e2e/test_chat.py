"""The chat in a pseudo-terminal, as a person uses it, with the real engine and the demo model."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from localqwen import paths
from localqwen.chats.store import Store
from tests.e2e.terminal import Terminal

LOCALQWEN = ["-m", "localqwen"]


def start(home: Path, *arguments: str) -> Terminal:
    return Terminal(sys.executable, [*LOCALQWEN, *arguments], {**os.environ, "LOCALQWEN_HOME": str(home)})


def answers(store: Store) -> list[str]:
    return [
        message.text
        for chat in store.chats()
        for message in store.tree(chat.id).path(chat.tip)
        if message.role == "assistant"
    ]


def test_ask_stop_quit_and_find_the_conversation_again(demo_home: Path) -> None:
    with start(demo_home, "chat", "demo") as terminal:
        terminal.until_shown("Ask anything")
        terminal.type("What is the capital of Japan?\r")
        terminal.until_shown("Tokyo", "Enter sends", seconds=120)
        terminal.type("Tell me a very long story about a fox.\r")
        terminal.until_shown("answering", "Esc stops")
        terminal.type("\x1b")
        terminal.until_shown("■ stopped", "Enter sends", seconds=20)
        terminal.type("a thought that was not sent")
        terminal.until_shown("a thought that was not sent")
        terminal.type("\x11")
        assert terminal.wait() == 0

    with start(demo_home, "chat", "demo") as terminal:
        terminal.until_shown("What is the capital", "New conversation")
        terminal.type("\x0c")
        terminal.until_shown("Enter opens")
        terminal.type("\r")
        terminal.until_shown("a very long story about a fox", "■ stopped", "a thought that was not sent")
        terminal.type("\x11")
        assert terminal.wait() == 0

    store = Store(paths.chats_path())
    assert len(answers(store)) == 2
    store.close()


def test_a_server_that_is_killed_is_explained_and_started_again(demo_home: Path) -> None:
    import psutil

    def server_of(pid: int) -> psutil.Process:
        (server,) = [child for child in psutil.Process(pid).children() if "serve" in child.cmdline()]
        return server

    with start(demo_home, "chat", "demo") as terminal:
        terminal.until_shown("Ask anything")
        terminal.type("Tell me a very long story about a fox.\r")
        terminal.until_shown("answering", "tok/s", seconds=120)
        server_of(terminal.pid).kill()
        terminal.until_shown("✗", "was killed", "Enter sends")
        terminal.type("What is the capital of Japan?\r")
        terminal.until_shown("Tokyo", "Enter sends", seconds=120)
        terminal.type("\x11")
        assert terminal.wait() == 0


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *LOCALQWEN, *arguments],
        env={**os.environ, "LOCALQWEN_HOME": str(home), "LOCALQWEN_API_KEY": "for-others"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_a_terminal_one_sentence_says_what_to_use(home: Path) -> None:
    result = run(home, "chat")
    assert result.returncode == 2
    assert "localqwen run" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("arguments", [(), ("chat",)])
def test_without_a_model_one_sentence_says_how_to_get_one(home: Path, arguments: tuple[str, ...]) -> None:
    with start(home, *arguments) as terminal:
        assert terminal.wait() == 1
        assert "localqwen demo" in terminal.output.decode()
        assert "Traceback" not in terminal.output.decode()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("chat", "nosuchmodel"), 1, "nosuchmodel"),
        (("chat", "--endpoint", "ftp://x"), 1, "http"),
        (("chat", "--api-key", "x"), 2, "--endpoint"),
        (("chat", "--endpoint", "http://x", "--api-key", "schlüssel"), 1, "The API key is not one"),
        (("chat", "--endpoint", "http://x", "--ctx", "5"), 2, "--ctx"),
        (("chat", "--ctx", "0"), 2, "--ctx"),
    ],
)
def test_wrong_usage_is_one_sentence(home: Path, arguments: tuple[str, ...], status: int, words: str) -> None:
    with start(home, *arguments) as terminal:
        assert terminal.wait() == status
        assert words in terminal.output.decode()
        assert "Traceback" not in terminal.output.decode()


def test_any_openai_server_will_do(demo_home: Path, demo_gguf: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, *LOCALQWEN, "serve", str(demo_gguf), "--port", str(port), "--ctx", "2048"]
    env = {**os.environ, "LOCALQWEN_HOME": str(demo_home)}
    with subprocess.Popen([*command, "--served-model-name", "remote"], env=env, stderr=subprocess.DEVNULL) as server:
        try:
            wait_for_health(f"http://127.0.0.1:{port}/health")
            with start(demo_home, "chat", "--endpoint", f"http://127.0.0.1:{port}/v1") as terminal:
                terminal.until_shown(f"What you type goes to http://127.0.0.1:{port}/v1", "remote  ready")
                terminal.type("What is the capital of Japan?\r")
                terminal.until_shown("Tokyo", "Enter sends", seconds=120)
                terminal.type("\x11")
                assert terminal.wait() == 0
        finally:
            server.terminate()


def wait_for_health(url: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, timeout=5, trust_env=False).status_code == 200:
                return
        assert time.monotonic() < deadline, f"{url} does not answer"
        time.sleep(0.05)
