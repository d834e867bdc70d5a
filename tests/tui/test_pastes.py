from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events
from textual.drivers import linux_driver
from textual.message import Message

from localqwen.chats.store import Store
from tests.tui.fakes import FakeConnection
from tui.app import ChatApp
from tui.pastes import BEGIN, END, PasteFilter, PasteParser

# What Textual's own parser takes for keys: what is behind the escape is typed, Enter and Ctrl+Q too.
EVIL = "see\x1bzzz\x11\r\x1b\x1b[2J\x1b]52;c;x\x07\x1b[20"
PIECES = st.lists(st.sampled_from(["a", "\r", "\x1b", "[", "2", "0", "~", "[200", "\x1b[I", "\x1b[A", "\x1b[20", "é"]))


def parsed(*pieces: str) -> list[Message]:
    parser = PasteParser()
    return [message for piece in pieces for message in parser.feed(piece)]


def pastes(messages: list[Message]) -> list[str]:
    return [message.text for message in messages if isinstance(message, events.Paste)]


def keys(messages: list[Message]) -> list[str]:
    return [message.key for message in messages if isinstance(message, events.Key)]


def test_nothing_in_a_paste_is_a_key() -> None:
    messages = parsed(BEGIN + EVIL + END)
    assert keys(messages) == []
    assert pastes(messages) == [EVIL.replace("\x1b", "")]
    assert pastes(parsed(f"{BEGIN}a\x00b{END}{BEGIN}{END}")) == ["ab", ""]


@given(PIECES, st.data())
def test_a_paste_may_be_cut_anywhere(pieces: list[str], data: st.DataObject) -> None:
    text = "".join(pieces)
    whole = f"x{BEGIN}{text}{END}y"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    parts = [whole[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    messages = parsed(*(part for part in parts if part))
    assert keys(messages) == ["x", "y"]
    assert "".join(pastes(messages)) == text.replace("\x1b", "")


@given(st.lists(st.sampled_from(["a", "\x1b", "\x1b[", "\x1b[A", "[200", "é", "\x1b[<0;1;1M"]), max_size=8))
def test_what_is_no_paste_goes_through_at_once(pieces: list[str]) -> None:
    filter_ = PasteFilter()
    if BEGIN not in "".join(pieces):
        assert [filter_.feed(piece) for piece in pieces] == pieces


def test_textual_reads_no_character_of_a_paste() -> None:
    filter_ = PasteFilter()
    assert "".join(map(filter_.feed, (f"a{BEGIN}one", "two", f"three{END}b"))) == f"a{BEGIN}{END}b"
    assert list(filter_.pastes) == ["onetwothree"]


def test_keys_work_before_and_after_a_paste() -> None:
    messages = parsed("\x1b[A", f"\x1b[B{BEGIN}one{END}\x1b[C{BEGIN}two", f"{END}q")
    assert keys(messages) == ["up", "down", "right", "q"]
    assert pastes(messages) == ["one", "two"]


def test_the_driver_of_the_app_has_the_filter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linux_driver, "XTermParser", None)
    monkeypatch.setattr(linux_driver, "getincrementaldecoder", codecs.getincrementaldecoder)
    ChatApp(Store(tmp_path / "chats.sqlite3"), FakeConnection())
    names = vars(linux_driver)
    assert names["XTermParser"] is PasteParser
    assert names["getincrementaldecoder"]("utf-8")().decode(b"a\xff") == "a\N{REPLACEMENT CHARACTER}"
