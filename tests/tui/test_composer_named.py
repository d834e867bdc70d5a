"""Files that a text names, completed or not, and what Enter makes of a popup that only guesses."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from textual.pilot import Pilot

from localqwen.chats.attachment import Attachment
from tests.tui.composing import ComposerApp, burst, settled, shown, typing, until
from tests.tui.fakes import press
from tui.attachments import Outgoing
from tui.completion import SlashItem, is_sure, mentions
from tui.file_index import Files
from tui.sanitize import SafeText
from tui.widgets.composer.area import Area
from tui.widgets.composer.named import NamedFiles

NOTES = Attachment("notes.txt", "the notes\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    for path in ["notes.txt", "my list.md", "src/data_classes_list.py"]:
        (folder / path).parent.mkdir(exist_ok=True, parents=True)
        (folder / path).write_text("the notes\n")
    (folder / "picture.png").write_bytes(b"\x89PNG\0")
    (tmp_path / "secret.txt").write_text("secret")
    return folder


def names(app: ComposerApp) -> list[str]:
    return [attachment.name for attachment in app.composer.draft.attachments]


async def offered(pilot: Pilot[None], *texts: str) -> None:
    app = pilot.app
    assert isinstance(app, ComposerApp)
    await until(pilot, lambda: app.popup.is_open and all(text in shown(app) for text in texts))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see @notes.txt please", [("notes.txt",)]),
        ('compare @a.py with @"my list.md", and so on', [("a.py",), ("my list.md",)]),
        ("is it @notes.txt?", [("notes.txt?", "notes.txt")]),
        ("mail me@example.org, @ noon", []),
        ("@", []),
    ],
)
def test_the_paths_that_a_text_names(text: str, found: list[tuple[str, ...]]) -> None:
    assert mentions(text) == found


@pytest.mark.parametrize(
    ("query", "candidate", "sure"),
    [("data", "dxata_Data.py", True), ("dataclass", "src/data_classes_list.py", False), ("", "a", False)],
)
def test_a_guess_is_sure_where_what_was_typed_stands_in_it(query: str, candidate: str, sure: bool) -> None:
    assert is_sure(query, candidate) is sure


async def test_a_named_file_goes_with_the_words_that_name_it(folder: Path) -> None:
    app = ComposerApp(folder)
    async with app.run_test() as pilot:
        burst(app, *typing("see @notes.txt please"), "enter", *typing("is it in @notes.txt or @no.txt"), "enter")
        await settled(pilot)
        await until(pilot, lambda: len(app.sent) == 2)
        assert app.sent == [
            Outgoing("see @notes.txt please", (NOTES,)),
            Outgoing("is it in @notes.txt or @no.txt", (NOTES,)),
        ]
        assert app.said == []


async def test_it_is_seen_as_soon_as_its_word_has_ended(folder: Path) -> None:
    app = ComposerApp(folder)
    async with app.run_test() as pilot:
        await press(pilot, *typing('see @"my list.md" '))
        await until(pilot, lambda: names(app) == ["my list.md"])
        assert app.composer.text == 'see @"my list.md" '
        await press(pilot, *typing("and @notes.txt"), "escape", "ctrl+j")
        await until(pilot, lambda: names(app) == ["my list.md", "notes.txt"])
        await press(pilot, "enter")
        assert [one.name for one in app.sent[0].attachments] == ["my list.md", "notes.txt"]


@pytest.mark.parametrize("away", [["ctrl+z"], ["home", "backspace", "backspace", "end"]])
async def test_a_named_file_that_was_taken_away_does_not_come_back(folder: Path, away: list[str]) -> None:
    app = ComposerApp(folder)
    async with app.run_test() as pilot:
        await press(pilot, *typing("see @notes.txt "))
        await until(pilot, lambda: names(app) == ["notes.txt"])
        await press(pilot, *away)
        assert names(app) == []
        assert app.composer.text == "see @notes.txt "
        await press(pilot, "x", "enter")
        await until(pilot, lambda: app.sent)
        assert app.sent == [Outgoing("see @notes.txt x")]


async def test_one_that_cannot_be_read_is_told_before_the_words_go_without_it(folder: Path) -> None:
    app = ComposerApp(folder)
    async with app.run_test() as pilot:
        app.composer.fill("what is in @picture.png here")
        await press(pilot, "enter")
        await until(pilot, lambda: app.said)
        assert "picture.png is no text file" in app.said[0]
        assert (app.sent, app.composer.text) == ([], "what is in @picture.png here")
        await press(pilot, "enter")
        await until(pilot, lambda: app.sent)
        assert app.sent == [Outgoing("what is in @picture.png here")]


async def test_one_from_elsewhere_is_shown_before_it_goes_out(folder: Path) -> None:
    app = ComposerApp(folder)
    async with app.run_test() as pilot:
        app.composer.fill("and @../secret.txt, which was pasted")
        await press(pilot, "enter")
        await until(pilot, lambda: names(app) == ["../secret.txt"])
        assert "../secret.txt" in app.said[0]
        assert app.sent == []
        await press(pilot, "enter")
        await until(pilot, lambda: app.sent)
        assert app.sent[0].attachments == (Attachment("../secret.txt", "secret"),)


async def test_enter_sends_what_the_popup_only_guesses_at(folder: Path) -> None:
    app = ComposerApp(folder)
    async with app.run_test(size=(80, 30)) as pilot:
        await press(pilot, *typing("what is @dataclass"))
        await offered(pilot, "src/data_classes_list.py")
        await press(pilot, "enter")
        await until(pilot, lambda: app.sent)
        assert app.sent == [Outgoing("what is @dataclass")]


@pytest.mark.parametrize(
    ("typed", "keys"), [("@dataclass", ["tab"]), ("@dataclass", ["down", "enter"]), ("@data_cl", ["enter"])]
)
async def test_tab_takes_any_guess_and_enter_a_sure_or_a_chosen_one(folder: Path, typed: str, keys: list[str]) -> None:
    app = ComposerApp(folder)
    async with app.run_test(size=(80, 30)) as pilot:
        await press(pilot, *typing(typed))
        await offered(pilot, "src/data_classes_list.py")
        await press(pilot, *keys)
        await until(pilot, lambda: names(app) == ["src/data_classes_list.py"])
        assert app.sent == []


async def test_a_lone_at_attaches_nothing_by_enter(folder: Path) -> None:
    app = ComposerApp(folder)
    async with app.run_test(size=(80, 30)) as pilot:
        await press(pilot, "@")
        await offered(pilot, "notes.txt")
        await press(pilot, "enter")
        await until(pilot, lambda: app.sent)
        assert app.sent == [Outgoing("@")]


async def test_a_lone_slash_runs_nothing_by_enter_but_what_was_gone_to() -> None:
    app = ComposerApp()
    async with app.run_test() as pilot:
        await press(pilot, "slash")
        assert app.popup.is_open
        await press(pilot, "enter")
        await until(pilot, lambda: app.said)
        assert (app.commands, app.composer.text) == ([], "/")
        await press(pilot, "backspace", "slash", "down", "up", "enter")
        await until(pilot, lambda: app.commands == [("new", "")])


ABOUT_FILES = [
    SlashItem("attach", "a file", "FILE", "files"),
    SlashItem("export", "write", "FILE", "folders"),
    SlashItem("theme", "colours", "NAME", ("dark", "light", "high-contrast")),
]


async def test_what_may_follow_a_command_is_offered_too(folder: Path) -> None:
    app = ComposerApp(folder, commands=ABOUT_FILES)
    async with app.run_test(size=(80, 30)) as pilot:
        await press(pilot, *typing("/attach my"))
        await offered(pilot, "my list.md")
        await press(pilot, "tab")
        assert app.composer.text == "/attach my list.md"
        await press(pilot, "enter")
        await until(pilot, lambda: app.commands == [("attach", "my list.md")])
        await press(pilot, *typing("/theme con"))
        await offered(pilot, "high-contrast")
        await press(pilot, "tab", "enter")
        await until(pilot, lambda: app.commands[1:] == [("theme", "high-contrast")])
        await press(pilot, *typing("/export s"))
        await offered(pilot, "src/")
        await press(pilot, "tab", *typing("x.md"), "enter")
        await until(pilot, lambda: app.commands[2:] == [("export", "src/x.md")])


async def test_enter_runs_a_command_with_what_was_typed_and_not_with_a_guess(folder: Path) -> None:
    app = ComposerApp(folder, commands=ABOUT_FILES)
    async with app.run_test(size=(80, 30)) as pilot:
        await press(pilot, *typing("/attach list.md"))
        await offered(pilot, "my list.md")
        await press(pilot, "enter")
        await until(pilot, lambda: app.commands == [("attach", "list.md")])
        await press(pilot, *typing("/theme "))
        await offered(pilot, "dark", "light")
        await press(pilot, "down", "enter")
        assert app.composer.text == "/theme light"


def test_folders_are_found_where_a_path_leads(folder: Path) -> None:
    files = Files(folder)
    assert [path for path, _ in files.find_folders("", 9)] == ["src/"]
    assert [path for path, _ in files.find_folders("../w", 9)] == ["../work/"]
    assert files.find_folders("src/", 9) == []


class Deciding:
    """A composer in which a file is attached while it is read a second time."""

    def __init__(self, *settled: set[str]) -> None:
        self._settled = list(settled)

    @property
    def settled(self) -> set[str]:
        return self._settled.pop(0)

    def attach(self, attachment: Attachment) -> None:
        raise AssertionError(attachment.name)

    def say(self, sentence: SafeText) -> None:
        raise AssertionError(sentence)


async def test_a_file_that_is_attached_while_it_is_read_goes_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("the notes\n")
    area = cast("Area", SimpleNamespace(document=object()))  # only whether it is another one is asked
    for later, names in ((set[str](), ["notes.txt"]), ({"notes.txt"}, [])):
        named = NamedFiles(Deciding(set(), later), area, tmp_path, lambda work: work.close())
        files = await named.before_sending("see @notes.txt")
        assert files is not None
        assert [one.name for one in files] == names
