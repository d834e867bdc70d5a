"""Conversations and code that are written to files, and read from them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from localqwen.chats.attachment import Attachment
from localqwen.chats.store import Store
from tests.tui.stage import Stage, folder, staged, written

CODE = "Like this:\n\n```python\nprint('one')\n```\n\n```../evil\ntwo\n```\n"


@pytest.fixture(autouse=True)
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


async def a_branched_chat(stage: Stage) -> None:
    stage.composer.fill("A bird?", [Attachment("notes.txt", "the notes")])
    await stage.press("enter")
    stage.client.answer("The penguin.")
    await stage.sees("The penguin.")
    await stage.rests()
    await stage.press("ctrl+r")
    await stage.until(lambda: len(stage.client.asked) == 2)
    stage.client.answer("The ostrich.")
    await stage.sees("The ostrich.")
    await stage.rests()
    await stage.slash("rename Birds")
    await stage.until(lambda: stage.list_titles == ["Birds"])


@pytest.mark.parametrize(("name", "texts"), [("birds.json", 3), ("birds.md", 2)])
async def test_json_carries_every_branch_and_markdown_the_one_that_is_shown(
    store: Store, name: str, texts: int
) -> None:
    async with staged(store) as stage:
        await a_branched_chat(stage)
        await stage.slash(f"export {name}")
        await stage.sees("Written to", name)
        assert folder() == [name]
        before = stage.kept
        await stage.slash("delete")
        await stage.sees("New conversation")
        await stage.slash(f"import {name}")
        await stage.sees("Birds", "The ostrich.", "notes.txt")
        after = stage.kept
        assert [(m.text, m.state, m.model, m.attachments) for m in before] == [
            (m.text, m.state, m.model, m.attachments) for m in after
        ]
        assert len(stage.all_texts) == texts
        if texts == 3:
            await stage.click("‹ 2/2")
            await stage.sees("The penguin.")
        await stage.ask("And?", "More.")
        assert "the notes" in stage.client.asked[-1][0]["content"]


async def test_an_export_while_an_answer_runs_has_what_is_there(store: Store) -> None:
    async with staged(store) as stage:
        await stage.begin("A bird?", "The peng")
        await stage.until(lambda: stage.kept_texts[-1] == "The peng")
        await stage.slash("export half.md")
        await stage.sees("Written to")
        assert written("half.md").rstrip().endswith("The peng")
        await stage.hear("uin")
        await stage.ends()
        assert stage.kept_texts[-1] == "The penguin"


async def test_a_temporary_conversation_can_be_exported(store: Store) -> None:
    async with staged(store) as stage:
        await stage.slash("temporary")
        await stage.ask("A bird?", "The penguin.")
        await stage.slash("export secret.md")
        await stage.sees("Written to")
        assert "The penguin." in written("secret.md")
        assert store.chats() == []


@pytest.mark.parametrize("command", ["export here.md", "save-code here.md"])
async def test_no_file_is_overwritten(store: Store, workshop: Path, command: str) -> None:
    (workshop / "here.md").write_text("mine")
    async with staged(store) as stage:
        await stage.ask("How?", CODE)
        await stage.slash(command)
        await stage.hears_of("is there already: choose another name.")
        await stage.slash(f"{command.split(maxsplit=1)[0]} nowhere/new.md")
        await stage.hears_of("here is no folder")
        assert (folder(), written("here.md")) == (["here.md"], "mine")


@pytest.mark.parametrize("command", ["export", "save-code", "import"])
@pytest.mark.parametrize(
    ("name", "said"),
    [("~nosuchuser/x.md", "leads nowhere"), ("n" * 300 + ".md", "File name too long"), ("locked/x.md", "denied")],
)
async def test_a_name_that_no_file_can_have_is_explained(
    store: Store, monkeypatch: pytest.MonkeyPatch, command: str, name: str, said: str
) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    async with staged(store) as stage:
        await stage.ask("How?", CODE)
        if "locked" in name:  # by hand: whoever is root may read everything
            monkeypatch.setattr(Path, "exists", refuse)
            monkeypatch.setattr("localqwen.chats.export.read_ordinary", refuse)
        await stage.slash(f"{command} {name}")
        await stage.hears_of(said)
        monkeypatch.undo()


@pytest.mark.parametrize("device", ["/dev/zero", "pipe"])
async def test_what_has_no_end_is_not_imported(store: Store, workshop: Path, device: str) -> None:
    os.mkfifo(workshop / "pipe")
    async with staged(store) as stage:
        await stage.slash(f"import {device}")
        await stage.hears_of("it is no ordinary file")
        assert store.chats() == []


async def test_what_cannot_be_imported_is_explained(store: Store, workshop: Path) -> None:
    (workshop / "bad.json").write_text('{"format": "something else"}')
    async with staged(store) as stage:
        await stage.slash("import bad.json")
        await stage.sees("Cannot import")
        await stage.slash("import nowhere.md")
        await stage.sees("Cannot read")
        assert store.chats() == []


async def test_code_gets_a_name_of_its_language_and_no_path_of_it(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("How?", CODE)
        await stage.slash("save-code")
        await stage.sees("Save the code as", "code.txt")
        await stage.press("escape")
        await stage.is_back()
        await stage.press("alt+pageup", "alt+pageup")
        await stage.slash("save-code")
        await stage.sees("code.py")
        await stage.press("enter")
        await stage.sees("Written to")
        assert (folder(), written("code.py")) == (["code.py"], "print('one')\n")


async def test_an_editor_that_is_not_there_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", "no-such-editor")
    monkeypatch.delenv("VISUAL", raising=False)
    async with staged(store) as stage:
        await stage.ask("How?", CODE)
        await stage.slash("open-code")
        await stage.hears_of("$EDITOR names the editor no-such-editor")


async def test_what_is_changed_in_the_editor_is_kept_and_named(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def edited(*_: object, on_changed: Callable[[Path], object], **__: object) -> str:
        on_changed(tmp_path / "text.py")
        return "changed"

    monkeypatch.setattr("tui.editor.edit", edited)
    async with staged(store) as stage:
        await stage.ask("How?", CODE)
        await stage.slash("open-code")
        await stage.hears_of("What you changed is in")
