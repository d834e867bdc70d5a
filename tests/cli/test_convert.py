"""``localqwen convert`` as a person uses it."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from converters.convert import TYPES
from localqwen.cli import convert as command
from localqwen.cli.progress import ByteProgress
from tests.fixtures.tiny import tiny_checkpoint


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """The tiny checkpoint."""
    return tiny_checkpoint(tmp_path / "Tiny-Instruct")


def localqwen(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "localqwen", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_converts_into_the_installed_models(checkpoint: Path, home: Path) -> None:
    done = localqwen("convert", checkpoint)
    assert done.returncode == 0, done.stderr
    out = home / "data" / "models" / "Tiny-Instruct-Q4_K_M.gguf"
    assert out.read_bytes()[:4] == b"GGUF"
    assert str(out) in done.stdout
    assert "bits per weight" in done.stdout
    assert "100%" in done.stderr


def test_options(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.gguf"
    out.write_text("old")
    done = localqwen("convert", checkpoint, out, "--type", "q8_0", "--threads", "1", "--overwrite")
    assert done.returncode == 0, done.stderr
    assert out.read_bytes()[:4] == b"GGUF"
    assert [path.name for path in tmp_path.glob("x.gguf*")] == ["x.gguf"]


def test_failures_are_one_sentence_and_exit_with_1(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.gguf"
    (checkpoint / "model.safetensors").write_bytes(b"short")
    done = localqwen("convert", checkpoint, out)
    assert done.returncode == 1
    assert done.stderr.startswith("localqwen: ")
    assert len(done.stderr.splitlines()) == 1
    assert "model.safetensors" in done.stderr
    assert not list(tmp_path.glob("x.gguf*"))


@pytest.mark.parametrize(
    "arguments", [[], ["x", "y", "z"], ["x", "--type", "Q9"], ["x", "--threads", "0"], ["x", "--no-such-option"]]
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    done = localqwen("convert", *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_after_ctrl_c_the_same_command_goes_on(checkpoint: Path, tmp_path: Path) -> None:
    # Interrupts itself in the middle: the signal comes after the first slab, whatever the machine's speed.
    script = (
        "import os, signal, sys\n"
        "import converters.slabs as slabs\n"
        "slabs.SLAB_WEIGHTS = 64\n"
        "from localqwen.cli.progress import ByteProgress\n"
        "ByteProgress.update = lambda self, done, total: os.kill(os.getpid(), signal.SIGINT)\n"
        "from localqwen.cli import main\n"
        "sys.argv = ['localqwen', 'convert', *sys.argv[1:]]\n"
        "main()\n"
    )
    out = tmp_path / "x.gguf"
    done = subprocess.run([sys.executable, "-c", script, checkpoint, out], capture_output=True, text=True, check=False)
    assert done.returncode == 128 + signal.SIGINT
    assert "Traceback" not in done.stderr
    assert "same command" in done.stderr
    assert not out.exists()
    assert localqwen("convert", checkpoint, out).returncode == 0
    assert [path.name for path in tmp_path.glob("x.gguf*")] == ["x.gguf"]


def test_delete_shards_asks_first(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.gguf"
    refused = localqwen("convert", checkpoint, out, "--delete-shards")
    assert refused.returncode != 0
    assert (checkpoint / "model.safetensors").exists()
    assert not list(tmp_path.glob("x.gguf*"))
    assert localqwen("convert", checkpoint, out, "--delete-shards", "--yes").returncode == 0
    assert not (checkpoint / "model.safetensors").exists()
    assert out.read_bytes()[:4] == b"GGUF"


def test_types_on_offer_are_those_of_the_converter() -> None:
    assert set(command.TYPES) == set(TYPES)


def test_progress_without_a_terminal_is_a_few_lines() -> None:
    stream = io.StringIO()
    with ByteProgress("Working\x1b[2J", stream) as progress:
        for done in range(1001):
            progress.update(done * 1000, 1_000_000)
    lines = stream.getvalue().splitlines()
    assert 9 <= len(lines) <= 11
    assert "100%" in lines[-1]
    assert "\x1b" not in stream.getvalue()


def test_nothing_is_shown_where_nothing_is_done() -> None:
    stream = io.StringIO()
    with ByteProgress("Working", stream):
        pass
    assert stream.getvalue() == ""


def test_progress_in_a_terminal_is_a_bar_with_rate_and_time_left() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    with ByteProgress("Working", stream) as progress:
        progress.update(400_000, 1_000_000)
        progress.update(1_000_000, 1_000_000)
    assert "Working" in stream.getvalue()
    assert "1.0/1.0 MB" in stream.getvalue()
