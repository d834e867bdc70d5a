from __future__ import annotations

import os
from pathlib import Path

import pytest

from localqwen.chats.attachment import Attachment
from tui.attachments import LARGEST_FILE, AttachmentError, Outgoing, pasted, read_attachment
from tui.byte_size import human_size


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
