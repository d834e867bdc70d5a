"""What the planner remembers: kept by several processes, and not read more often than it changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from localqwen.engine.notebook import MOST_ENTRIES, Notebook


def test_what_another_process_notes_is_seen(tmp_path: Path) -> None:
    one, other = (Notebook(tmp_path / "planner.json") for _ in range(2))
    assert one.get("plans", "x") is None
    for value in range(50):
        other.put("plans", "x", value)
        assert one.get("plans", "x") == value
    other.remove("plans", "x")
    assert one.get("plans", "x") is None
    assert one.section("plans") == {}


def test_it_is_read_once_for_many_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = Notebook(tmp_path / "planner.json")
    for number in range(MOST_ENTRIES + 5):
        notebook.put("plans", str(number), number)
    reads, read = [], Path.read_text

    def counted(path: Path) -> str:
        reads.append(path)
        return read(path)

    monkeypatch.setattr(Path, "read_text", counted)
    assert [notebook.get("plans", str(number)) for number in range(5, 50)] == list(range(5, 50))
    assert notebook.get("plans", "4") is None, "the oldest are dropped"
    assert len(reads) == 1
