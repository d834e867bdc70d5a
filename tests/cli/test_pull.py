"""``localqwen pull`` as a person and a script use it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.tiny import tiny_checkpoint
from tests.hub.mock_hub import mock_hub

NAME = "Someone/Tiny-Instruct"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """The tiny checkpoint in shards."""
    (tmp_path / "source").mkdir()
    return tiny_checkpoint(tmp_path / "source" / "Tiny-Instruct", shards=2)


def localqwen(*arguments: str | Path, endpoint: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, with another hub."""
    command = [sys.executable, "-m", "localqwen", *map(str, arguments)]
    everything = {**os.environ, "HF_ENDPOINT": endpoint, **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=everything)


def test_pulls_into_the_installed_models(checkpoint: Path, home: Path) -> None:
    with mock_hub({NAME: checkpoint}) as hub:
        done = localqwen("pull", NAME, "--type", "q8_0", endpoint=hub.url)
    assert done.returncode == 0, done.stderr
    out = home / "data" / "models" / "Tiny-Instruct-Q8_0.gguf"
    assert out.read_bytes()[:4] == b"GGUF"
    assert str(out) in done.stdout
    assert "2 of 2 files verified by SHA-256" in done.stdout
    assert "100%" in done.stderr


def test_json_lines(checkpoint: Path, tmp_path: Path) -> None:
    with mock_hub({NAME: checkpoint}) as hub:
        done = localqwen("pull", NAME, tmp_path / "x.gguf", "--json", endpoint=hub.url)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {event["event"] for event in events[:-1]} == {"progress", "note"}
    assert events[-2]["done"] == events[-2]["total"]
    assert events[-1]["event"] == "done"
    assert events[-1]["paths"] == [str(tmp_path / "x.gguf")]
    assert events[-1]["revision"] == hub.commit


@pytest.mark.parametrize(
    "environment,words",
    [({"HF_HUB_OFFLINE": "1"}, "offline mode is on"), ({}, "cannot be reached: check the connection")],
)
def test_no_network_is_one_sentence(environment: dict[str, str], words: str, tmp_path: Path) -> None:
    # Port 9 is the discard service: nobody listens there.
    done = localqwen("pull", NAME, tmp_path / "x.gguf", endpoint="http://127.0.0.1:9", **environment)
    assert done.returncode == 1
    assert done.stderr.startswith("localqwen: ")
    assert len(done.stderr.splitlines()) == 1
    assert words in done.stderr
    assert not list(tmp_path.glob("x.gguf*"))


@pytest.mark.parametrize("arguments", [[], ["a", "b", "c"], ["a", "--type", "Q9"], ["a", "--threads", "0"]])
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    assert localqwen("pull", *arguments, endpoint="http://127.0.0.1:9").returncode == 2


def test_after_ctrl_c_the_same_command_goes_on(checkpoint: Path, tmp_path: Path) -> None:
    # Interrupts itself after the first slab, whatever the machine's speed.
    script = (
        "import os, signal, sys\n"
        "import converters.slabs as slabs\n"
        "slabs.SLAB_WEIGHTS = 640\n"
        "from localqwen.cli.progress import ByteProgress\n"
        "ByteProgress.update = lambda self, done, total: os.kill(os.getpid(), signal.SIGINT)\n"
        "from localqwen.cli import main\n"
        "sys.argv = ['localqwen', 'pull', *sys.argv[1:]]\n"
        "main()\n"
    )
    out = tmp_path / "x.gguf"
    with mock_hub({NAME: checkpoint}) as hub:
        child = [sys.executable, "-c", script, NAME, str(out)]
        environment = {**os.environ, "HF_ENDPOINT": hub.url}
        stopped = subprocess.run(child, capture_output=True, text=True, check=False, env=environment)
        assert stopped.returncode == 128 + signal.SIGINT
        assert "same command goes on" in stopped.stderr
        assert "Traceback" not in stopped.stderr
        assert not out.exists()
        assert localqwen("pull", NAME, out, endpoint=hub.url).returncode == 0
    assert [path.name for path in tmp_path.glob("x.gguf*")] == ["x.gguf"]


def test_model_that_is_not_installed_names_the_command(home: Path) -> None:
    done = localqwen("run", "qwen2-0.5b-instruct", "Hi", endpoint="http://127.0.0.1:9")
    assert "localqwen pull qwen2-0.5b-instruct" in done.stderr
