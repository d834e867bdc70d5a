"""``localqwen imatrix`` as a person uses it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from converters.gguf_reader import Array, read_gguf
from tests.cli.test_convert import localqwen
from tests.fixtures.imatrix_cases import TEXT, tiny_moe_gguf


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command on the tiny model."""
    return localqwen("imatrix", tiny_moe_gguf(), *arguments, "--threads", "1")


def test_writes_an_importance_matrix(tmp_path: Path) -> None:
    out = tmp_path / "x.gguf"
    done = run(TEXT, "-o", out, "--ctx", "128", "--chunks", "3")
    assert done.returncode == 0, done.stderr
    assert f"{out}: 24 tensors, 3 chunks of 128 tokens" in done.stdout
    assert "3 of 3 chunks" in done.stderr
    assert "tokens/s" in done.stderr
    assert "more text" in done.stderr
    header = read_gguf(out)
    assert header.metadata == {
        "general.type": "imatrix",
        "imatrix.datasets": Array("str", 1, (str(TEXT)[:200] + ("…" if len(str(TEXT)) > 200 else ""),)),
        "imatrix.chunk_count": 3,
        "imatrix.chunk_size": 128,
    }
    assert [tensor.name for tensor in header.tensors][:2] == [
        "blk.0.attn_k.weight.in_sum2",
        "blk.0.attn_k.weight.counts",
    ]
    assert {tensor.name: tensor.dims for tensor in header.tensors}["blk.0.ffn_down_exps.weight.counts"] == (6, 1)
    assert localqwen("inspect", out).returncode == 0


def test_several_texts_and_the_output_matrix(tmp_path: Path) -> None:
    parts = []
    for number, part in enumerate(TEXT.read_text(encoding="utf-8").split("\n\n")[:3]):
        parts.append(tmp_path / f"{number}.txt")
        parts[-1].write_text(part + "\n", encoding="utf-8")
    out = tmp_path / "x.gguf"
    done = run(*parts, "-o", out, "--ctx", "64", "--chunks", "2", "--process-output")
    assert done.returncode == 0, done.stderr
    header = read_gguf(out)
    datasets = header.metadata["imatrix.datasets"]
    assert isinstance(datasets, Array)
    assert datasets.count == 3
    assert "output.weight.in_sum2" in {tensor.name for tensor in header.tensors}


def test_ctrl_c_keeps_the_finished_chunks(tmp_path: Path) -> None:
    # Interrupts itself inside the third chunk, in llama.cpp's callback.
    script = (
        "import os, signal, sys\n"
        "from localqwen.engine.imatrix import Collector\n"
        "original, seen = Collector._collect, []\n"
        "def collect(self, node):\n"
        "    original(self, node)\n"
        "    seen.append(1)\n"
        "    if len(seen) == 24 * 2 + 5: os.kill(os.getpid(), signal.SIGINT)\n"
        "Collector._collect = collect\n"
        "from localqwen.cli import main\n"
        "sys.argv = ['localqwen', 'imatrix', *sys.argv[1:]]\n"
        "main()\n"
    )
    stopped, whole = tmp_path / "stopped.gguf", tmp_path / "whole.gguf"
    options = ["--ctx", "128", "--threads", "1"]
    command: list[str | Path] = [sys.executable, "-c", script, tiny_moe_gguf(), TEXT, "-o", stopped, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 128 + signal.SIGINT, done.stderr
    assert "Traceback" not in done.stderr
    assert "2 finished chunks" in done.stderr
    assert run(TEXT, "-o", whole, "--chunks", "2", *options).returncode == 0
    assert stopped.read_bytes() == whole.read_bytes()


def test_ctrl_c_before_the_first_chunk_writes_nothing(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from localqwen.engine.imatrix import Collector\n"
        "Collector._collect = lambda self, node: os.kill(os.getpid(), signal.SIGINT)\n"
        "from localqwen.cli import main\n"
        "sys.argv = ['localqwen', 'imatrix', *sys.argv[1:]]\n"
        "main()\n"
    )
    command: list[str | Path] = [
        sys.executable,
        "-c",
        script,
        tiny_moe_gguf(),
        TEXT,
        "-o",
        tmp_path / "x.gguf",
        "--ctx",
        "128",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 128 + signal.SIGINT, done.stderr
    assert "nothing is written" in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_existing_file_stays_unless_overwrite_is_given(tmp_path: Path) -> None:
    out = tmp_path / "x.gguf"
    out.write_text("mine")
    options = ("-o", out, "--ctx", "128", "--chunks", "1")
    refused = run(TEXT, *options)
    assert refused.returncode == 1
    assert out.read_text() == "mine"
    assert run(TEXT, *options, "--overwrite").returncode == 0
    assert out.read_bytes()[:4] == b"GGUF"


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (b"too short", [], "less than one chunk"),
        (b"", [], "0 tokens"),
        (b"\xff\xfe", [], "no UTF-8"),
        (None, [], "Cannot read"),
        (b"x" * 10_000, ["--ctx", "5000"], "more than"),
    ],
)
def test_failures_are_one_sentence(content: bytes | None, options: list[str], words: str, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    if content is not None:
        text.write_bytes(content)
    done = run(text, "-o", tmp_path / "x.gguf", *options)
    assert done.returncode == 1
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "x.gguf").exists()


@pytest.mark.parametrize(
    "arguments", [[], ["model"], ["model", "text", "--ctx", "0"], ["model", "text", "--chunks", "0"]]
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    assert localqwen("imatrix", *arguments).returncode == 2
