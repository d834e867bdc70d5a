from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from localqwen.chats.attachment import Attachment
from tui.attachments import LARGEST_FILE, AttachmentError, Files, Outgoing, human_size, pasted, read_attachment


def found(files: Files, query: str, limit: int = 50) -> list[str]:
    return [path for path, _ in files.find(query, limit)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    base = tmp_path / "project"
    for path in ["README.md", "src/main.py", "src/deep/er/notes.md", ".hidden/key", ".env", "node_modules/x/index.js"]:
        (base / path).parent.mkdir(parents=True, exist_ok=True)
        (base / path).write_text(path)
    return base


def test_a_text_file_is_read_as_it_is_but_for_controls(tmp_path: Path) -> None:
    (tmp_path / "a b.txt").write_bytes("\ufeffeins\r\nzw\x1b[1mei\tä\u202e\n".encode())
    assert read_attachment("a b.txt", tmp_path) == Attachment("a b.txt", "eins\nzw[1mei\tä\u202e\n")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PNG\0\1", "no text file"),
        ("é".encode("latin-1"), "not in UTF-8"),
        (b"x" * (LARGEST_FILE + 1), "more than 8.0 MiB"),
    ],
)
def test_what_is_no_text_is_refused_in_a_sentence(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(AttachmentError, match=words):
        read_attachment("file", tmp_path)


def test_what_is_gone_or_no_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    for name, words in {
        "gone\x1b[2J": r"^gone␛\[2J is not there any more\.$",
        "folder": "is a folder",
        "pipe": "no ordinary file",
        "loop": "could not be read",
        "nul\0": "could not be read",
    }.items():
        with pytest.raises(AttachmentError, match=words):
            read_attachment(name, tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0)
    with pytest.raises(AttachmentError, match="You may not read secret"):
        read_attachment("secret", tmp_path)


def test_home_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "letter.txt").write_text("dear")
    assert read_attachment("~/letter.txt", Path("/")).text == "dear"
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


def test_pastes_are_numbered_from_the_first_free_number() -> None:
    first = pasted("a", ())
    second = pasted("b", (first,))
    assert [first.name, second.name, pasted("c", (second,)).name] == ["pasted text 1", "pasted text 2", "pasted text 1"]


def test_sizes_are_in_words() -> None:
    assert [human_size(n) for n in (0, 812, 16 << 10, 1 << 20, 3 << 30)] == [
        "0 B", "812 B", "16.0 KiB", "1.0 MiB", "3,072.0 MiB",
    ]  # fmt: skip


def test_attachments_alone_are_something_to_send() -> None:
    assert Outgoing(" \n").is_empty
    assert not Outgoing("", (Attachment("a", "b"),)).is_empty
