"""Attachments in the app: by path and by paste, to the model, and over a restart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from textual import events

from localqwen.chats.attachment import Attachment
from localqwen.chats.session import Conversation
from localqwen.chats.store import Store
from tests.tui.fakes import FakeConnection
from tests.tui.stage import Stage, killed, staged
from tui.backend import Backend
from tui.presenter import shown

PASTE = "a line that is pasted\n" * 1500


@pytest.fixture(autouse=True)
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "work"
    place.mkdir()
    (place / "notes.txt").write_text("the notes\n")
    monkeypatch.chdir(place)


async def both(stage: Stage) -> None:
    await stage.write("see @notes")
    await stage.sees("notes.txt")
    await stage.press("tab")
    await stage.sees("notes.txt · 10 B · 1 line")
    stage.app.post_message(events.Paste(PASTE))
    await stage.sees("pasted text 1 · 32.2 KiB · 1,500 lines")


async def test_a_file_and_a_paste_reach_the_model_and_stand_under_the_message(store: Store) -> None:
    async with staged(store) as stage:
        await both(stage)
        await stage.press("enter")
        await stage.until(lambda: stage.client.asked)
        told = stage.client.asked[0][0]["content"]
        assert told.index("File: notes.txt") < told.index("the notes") < told.index("a line that is pasted")
        stage.client.answer("I have read it.")
        await stage.rests()
        await stage.sees("see", "notes.txt · 10 B", "pasted text 1 · 32.2 KiB", "I have read it.")
        assert stage.kept[0].text.strip() == "see"
        assert [file.name for file in stage.kept[0].attachments] == ["notes.txt", "pasted text 1"]
        assert stage.composer.outgoing.is_empty


async def test_they_outlive_a_kill_in_the_draft(store: Store, tmp_path: Path) -> None:
    async with staged(store) as stage:
        await both(stage)
        await stage.until(lambda: stage.open.chat is not None and len(stage.chat.draft_attachments) == 2)
        after = killed(store, tmp_path / "after")
    async with staged(after) as stage:
        await stage.sees("see", "notes.txt · 10 B", "pasted text 1 · 32.2 KiB")
        await stage.press("enter")
        await stage.until(lambda: stage.client.asked)
        assert "the notes" in stage.client.asked[0][0]["content"]
        assert PASTE.strip() in stage.client.asked[0][0]["content"]
        stage.client.answer("I have read it.")
        await stage.rests()
    after.close()


async def test_each_conversation_has_its_own_draft_and_files(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("A bird?", "The penguin.")
        await both(stage)
        await stage.press("ctrl+n")
        await stage.sees("New conversation")
        assert stage.composer.outgoing.is_empty
        await stage.write("another draft")
        await stage.until(lambda: stage.open.chat is not None)
        await stage.press("ctrl+l", "end", "enter")
        await stage.sees("The penguin.", "notes.txt · 10 B", "pasted text 1")
        assert stage.composer.text.strip() == "see"
        await stage.press("ctrl+l", "home", "enter")
        await stage.until(lambda: stage.composer.text == "another draft")
        await stage.misses("notes.txt")


async def test_a_file_is_measured_once_however_often_it_is_shown(store: Store) -> None:
    measured = 0

    class Text(str):
        __slots__ = ()

        def encode(self, *how: str) -> bytes:
            nonlocal measured
            measured += how == ("utf-8", "replace")
            return super().encode(*how)

    conversation, backend = Conversation(store), Backend(FakeConnection())
    await conversation.ask("first")
    [question] = conversation.path
    conversation.tree.put(replace(question, attachments=(Attachment("notes.txt", Text("a rare text")),)))
    for _ in range(3):
        shown(conversation, backend, str, temporary=False)
    assert measured == 1
