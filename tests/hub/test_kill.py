"""Killed at random points, from this disk and from a hub that cuts connections: the same bytes, little done again.

benchmarks/converter_kills.py does this a hundred times.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import pytest

from converters.convert import convert
from tests.fixtures.build import smollm2_checkpoint
from tests.fixtures.kills import kill_often, redone
from tests.hub.mock_hub import Fault, mock_hub

KIND = "Q8_0"
KILLS = 3
MOST_REDONE = 64 << 20


@cache
def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, int]:
    """Digest of an undisturbed conversion, and the bytes it reads."""
    out = tmp_path_factory.mktemp("expected") / "x.gguf"
    summary = convert(smollm2_checkpoint(), out, KIND)
    return digest(out), summary.source_size


def test_killed_conversion_goes_on_and_gives_the_same_bytes(expected: tuple[str, int], tmp_path: Path) -> None:
    out = tmp_path / "x.gguf"
    runs = kill_often(smollm2_checkpoint(), out, KIND, expected[1], KILLS, seed=1)
    assert digest(out) == expected[0]
    assert sum(one.killed for one in runs) == KILLS
    assert redone(runs) <= MOST_REDONE
    assert runs[-1].begin > 0
    assert [path.name for path in tmp_path.glob("x.gguf*")] == ["x.gguf"]


def test_killed_pull_over_a_bad_line_goes_on(
    expected: tuple[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "x.gguf"
    checkpoint = smollm2_checkpoint()
    with mock_hub({f"Someone/{checkpoint.name}": checkpoint}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        # Every range is cut after 3 MB the first time it is asked for.
        hub.faults = lambda name, begin, count: Fault(cut_after=3_000_000) if count == 0 else None
        runs = kill_often(f"Someone/{checkpoint.name}", out, KIND, expected[1], KILLS, seed=2)
    assert digest(out) == expected[0]
    assert sum(one.killed for one in runs) == KILLS
    assert redone(runs) <= MOST_REDONE
    assert runs[-1].begin > 0
