"""``--json``: lines that a script can read, and nothing else, on standard output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from converters.progress import Progress
from localqwen.cli.json_progress import EVERY, emit, progress_lines
from tests.cli.test_convert import localqwen
from tests.fixtures.tiny import tiny_checkpoint


def lines(text: str) -> list[dict[str, Any]]:
    """Every line as an object."""
    return [json.loads(line) for line in text.splitlines()]


def test_a_conversion_tells_progress_notes_and_a_summary(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "Tiny-Instruct", shards=2)
    out = tmp_path / "x.gguf"
    done = localqwen("convert", checkpoint, out, "--yarn", "2", "--json", "--type", "Q8_0")
    assert (done.returncode, done.stderr) == (0, "")
    events = lines(done.stdout)
    assert {event["event"] for event in events} == {"progress", "note", "done"}
    step = [event for event in events if event["event"] == "progress"][-1]
    assert step["done"] == step["total"]
    assert step["file"].endswith(".safetensors")
    assert 0 < step["file_done"] <= step["file_total"] < step["total"]
    summary = events[-1]
    assert summary["event"] == "done"
    assert summary["size"] == out.stat().st_size
    assert sum(share["tensors"] for share in summary["types"].values()) == summary["tensors"]
    assert sum(share["bytes"] for share in summary["types"].values()) < summary["size"]
    assert summary["peak_memory"] > 10_000_000
    assert summary["kernels"]


def test_a_failure_is_a_sentence_on_standard_error(tmp_path: Path) -> None:
    done = localqwen("convert", tmp_path, tmp_path / "x.gguf", "--json")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("localqwen: ")


def test_at_most_one_line_a_second_and_always_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    show = progress_lines(lambda: now)
    for done in range(101):
        show(Progress(done, 100, "t", rate=1 / 3, seconds_left=None))
        now += EVERY / 10
    events = lines(capsys.readouterr().out)
    assert len(events) == 11
    assert events[-1]["done"] == 100
    assert (events[0]["rate"], events[0]["seconds_left"]) == (0.3, None)


def test_control_characters_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    emit("note", text="a\x1b[2J\u202eb")
    out = capsys.readouterr().out
    assert out.isascii()
    assert "\x1b" not in out
