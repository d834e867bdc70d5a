"""What is typed and repeated in an error is foreign text too: a script may have made it of a file's name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.fuzz.grammar import foreign_in_lines

EVIL = "evil\x1b[2J\x1b]0;owned\x07\x9b31m\u202e"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ([f"--{EVIL}"], 2),
        ([EVIL], 2),
        (["plan", f"--{EVIL}"], 2),
        (["models", EVIL], 2),
        (["run", "demo", "x", "--temperature", EVIL], 2),
        (["run", EVIL, "x"], 1),
    ],
)
def test_no_error_repeats_controls(arguments: list[str], status: int) -> None:
    done = subprocess.run([sys.executable, "-m", "localqwen", *arguments], capture_output=True, check=False)
    assert done.returncode == status
    assert b"evil" in done.stderr
    assert foreign_in_lines(done.stderr.replace(b"\n", b"\r\n")) == {}  # as a terminal turns them
