"""``localqwen serve`` from its first line to its end."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.server.running import DEADLINE, wait_until

SERVE = [sys.executable, "-m", "localqwen", "serve"]


def fail(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SERVE, *arguments], capture_output=True, text=True, timeout=DEADLINE, check=False)


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """A server on a free port: its process, its address and the curl line that it prints."""
    command = [*SERVE, *arguments, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+(?=/v1)", process.stdout.readline())
            assert found
            yield process, found.group(), process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_answers_and_ends_cleanly(demo_gguf: Path, number: signal.Signals) -> None:
    with serving(str(demo_gguf), "--ctx", "512", "--served-model-name", "it's me") as (process, url, curl):
        wait_until(lambda: httpx.get(f"{url}/health").status_code == 200, "the model is loaded")
        assert httpx.get(f"{url}/v1/models").json()["data"][0]["id"] == "it's me"
        words = shlex.split(curl)
        body = words[words.index("-d") + 1]
        answer = httpx.post(words[1], content=body, headers={"Content-Type": "application/json"}, timeout=DEADLINE)
        assert answer.json()["choices"][0]["message"]["content"]
        process.send_signal(number)
        assert process.wait(DEADLINE) == 0
        assert process.stderr is not None
        assert process.stderr.read() == "Ready, with a context of 512 tokens.\n"


def test_it_ends_at_once_while_loading(demo_gguf: Path) -> None:
    with serving(str(demo_gguf)) as (process, url, _):
        wait_until(lambda: httpx.get(f"{url}/health"), "it answers")
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) in {0, 1}
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_a_port_in_use(demo_gguf: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = fail(str(demo_gguf), "--port", port)
    assert done.returncode == 1
    assert done.stderr == (
        f"localqwen: Port {port} is in use: stop the program that uses it, or choose another with --port.\n"
    )
    assert done.stdout == ""


@pytest.mark.parametrize("content", [b"Dear diary", b"GGUF\x03\x00\x00\x00", b"GGUF\x63\x00\x00\x00", b""])
def test_a_file_that_is_no_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.gguf"
    path.write_bytes(content)
    done = fail(str(path), "--port", "0")
    assert done.returncode == 1
    assert done.stderr.startswith(f"localqwen: {path} ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--host", "0.0.0.0"], 2, "--api-key"),
        (["--host", "nobody.invalid", "--api-key", "x"], 1, "nobody.invalid is no address"),
        (["--host", "192.0.2.1", "--api-key", "x"], 1, "192.0.2.1 is no address of this machine"),
        (["--api-key", "schlüssel"], 1, "The API key is not one"),
        (["--private"], 2, "--uds"),
        (["--port", "70000"], 2, "--port"),
    ],
)
def test_wrong_usage(demo_gguf: Path, arguments: list[str], code: int, words: str) -> None:
    done = fail(str(demo_gguf), *arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_an_api_key_opens_other_addresses(demo_gguf: Path) -> None:
    with serving(str(demo_gguf), "--host", "0.0.0.0", "--api-key", "secret") as (_, everywhere, curl):
        url = everywhere.replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(f"{url}/v1/models").status_code == 401
        right = {"Authorization": "Bearer secret", "Host": "box.example"}
        assert httpx.get(f"{url}/v1/models", headers=right).status_code == 200
        assert "secret" not in curl
