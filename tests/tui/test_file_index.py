from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tui.file_index import Files


def found(files: Files, query: str, limit: int = 50) -> list[str]:
    return [path for path, _ in files.find(query, limit)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    base = tmp_path / "project"
    for path in ["README.md", "src/main.py", "src/deep/er/notes.md", ".hidden/key", ".env", "node_modules/x/index.js"]:
        (base / path).parent.mkdir(parents=True, exist_ok=True)
        (base / path).write_text(path)
    return base


def test_home_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "letter.txt").write_text("dear")
    assert found(Files(Path("/")), "~/let") == ["~/letter.txt"]
    assert found(Files(Path("/")), "~") == ["~/letter.txt"]


def test_files_are_found_in_any_depth_without_what_is_hidden_or_made(folder: Path) -> None:
    files = Files(folder)
    assert sorted(found(files, "")) == ["README.md", "src/deep/er/notes.md", "src/main.py"]
    assert found(files, "notes") == ["src/deep/er/notes.md"]
    assert found(files, "smain") == ["src/main.py"]
    assert found(files, "nothing-like-it") == []


def test_hidden_and_made_files_are_found_where_their_folder_is_typed(folder: Path) -> None:
    files = Files(folder)
    assert found(files, ".") == [".env", ".hidden/"]
    assert found(files, ".hidden/") == [".hidden/key"]
    assert found(files, "node_modules/x/") == ["node_modules/x/index.js"]
    assert found(files, "src/") == ["src/deep/", "src/main.py", "src/deep/er/notes.md"]
    assert found(files, "../pro") == ["../project/"]
    assert found(files, f"{folder}/src/m") == [f"{folder}/src/main.py"]


def test_what_git_ignores_is_left_out(folder: Path) -> None:
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    (folder / ".gitignore").write_text("*.log\nnode_modules/\n")
    (folder / "trace.log").write_text("x")
    assert sorted(found(Files(folder), "")) == ["README.md", "src/deep/er/notes.md", "src/main.py"]
    assert found(Files(folder), "./tr") == ["./trace.log"]


def test_a_folder_that_is_gone_offers_nothing(tmp_path: Path) -> None:
    assert found(Files(tmp_path / "gone"), "x") == []
    assert found(Files(tmp_path), "gone/x") == []


def test_no_more_than_the_limit_is_offered(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"f{number}").touch()
    assert len(found(Files(tmp_path), "f", 8)) == 8
    assert len(found(Files(tmp_path), "./f", 8)) == 8
