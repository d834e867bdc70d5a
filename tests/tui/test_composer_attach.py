"""Pastes, files and their chips."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot

from localqwen.chats.attachment import Attachment
from tests.tui.composing import ComposerApp, burst, settled, shown, typing, until
from tests.tui.fakes import press
from tui.sanitize import SafeText
from tui.widgets.chips import Chip, arrange
from tui.widgets.composer.draft import Attached

LONG = "a line that is pasted\r\n" * 47_662


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path in ["README.md", "src/main.py", "my notes.txt"]:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(f"content of {path}\n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0")
    return tmp_path


async def offered(pilot: Pilot[None], *texts: str) -> None:
    app = pilot.app
    assert isinstance(app, ComposerApp)
    await until(pilot, lambda: app.popup.is_open and all(text in shown(app) for text in texts))


async def test_a_short_paste_goes_into_the_text_in_the_selections_place() -> None:
    app = ComposerApp()
    async with app.run_test() as pilot:
        await press(pilot, "a", "b", "shift+left")
        app.post_message(events.Paste("one\r\ntwo\rthr\x1b[1mee"))
        burst(app, "x")
        await settled(pilot)
        assert app.composer.text == "aone\ntwo\nthr[1meex"
        assert app.composer.draft.attachments == ()


async def test_a_long_paste_becomes_a_chip_and_is_kept_as_it_was() -> None:
    app = ComposerApp()
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "a")
        app.post_message(events.Paste(LONG))
        burst(app, "b", "enter", *typing("c"))
        await settled(pilot)
        assert app.sent_texts == ["ab"]
        assert app.sent[0].attachments == (Attachment("pasted text 1", LONG.replace("\r\n", "\n")),)
        app.post_message(events.Paste(LONG * 3))
        app.post_message(events.Paste("x" * 16_385))
        await until(pilot, lambda: "pasted text 1 · 3.0 MiB · 142,986 lines" in shown(app))
        await until(pilot, lambda: "pasted text 2 · 16.0 KiB · 1 line" in shown(app))
        assert app.composer.text == "c"


async def test_a_paste_of_a_megabyte_takes_little_time() -> None:
    app = ComposerApp()
    async with app.run_test() as pilot:
        begin = time.process_time()
        await app.composer.take_paste(LONG)
        assert time.process_time() - begin < 0.1
        await until(pilot, lambda: "pasted text 1" in shown(app))


async def test_a_file_is_found_as_it_is_typed_and_attached(folder: Path) -> None:
    app = ComposerApp(folder)
    async with app.run_test(size=(80, 30)) as pilot:
        await press(pilot, *typing("see @mai"))
        await offered(pilot, "src/main.py")
        burst(app, "tab", *typing("ok"), "enter")
        await settled(pilot)
        assert app.sent_texts == ["see ok"]
        assert app.sent[0].attachments == (Attachment("src/main.py", "content of src/main.py\n"),)


async def test_tab_waits_for_the_files_even_in_a_burst(folder: Path) -> None:
    app = ComposerApp(folder)
    async with app.run_test() as pilot:
        burst(app, *typing("@readme"), "tab", *typing("x"))
        await settled(pilot)
        assert app.composer.draft.attachments == (Attachment("README.md", "content of README.md\n"),)
        assert app.composer.text == "x"


async def test_the_popup_is_moved_through_closed_and_stays_closed_for_its_word(folder: Path) -> None:
    app = ComposerApp(folder)
    async with app.run_test(size=(80, 30)) as pilot:
        await press(pilot, "@")
        await offered(pilot, "README.md", "my notes.txt", "src/main.py")
        first = app.popup.index
        await press(pilot, "down", "down", "up")
        assert app.popup.index == first + 1
        await press(pilot, "escape")
        assert not app.popup.is_open
        assert app.stopped == 0
        await press(pilot, "r")
        await settled(pilot)
        assert not app.popup.is_open
        await press(pilot, "enter")
        assert app.sent_texts == ["@r"]


async def test_the_popup_lies_above_the_composer_and_never_on_the_text(folder: Path) -> None:
    for number in range(30):
        (folder / f"file{number:02}").touch()
    app = ComposerApp(folder)
    async with app.run_test(size=(80, 24)) as pilot:
        await press(pilot, "x", "ctrl+j", "space", "@")
        await offered(pilot)
        await pilot.pause()
        await until(pilot, lambda: app.popup.region.height == 8)
        await until(pilot, lambda: app.popup.region.bottom == app.composer.region.y)
        assert app.popup.region.x >= 0
        await press(pilot, *["down"] * 10)
        await offered(pilot)
        await press(pilot, "ctrl+j")
        await settled(pilot)
        assert not app.popup.is_open


async def test_a_folder_goes_on_and_a_name_with_spaces_stays_whole(folder: Path) -> None:
    app = ComposerApp(folder)
    async with app.run_test(size=(80, 30)) as pilot:
        await press(pilot, *typing("@./s"))
        await offered(pilot, "./src/")
        await press(pilot, "tab")
        await offered(pilot, "./src/main.py")
        assert app.composer.text == "@./src/"
        await press(pilot, "enter")
        await until(pilot, lambda: app.composer.draft.attachments)
        assert (app.composer.text, app.composer.draft.attachments[0].name) == ("", "./src/main.py")
        await press(pilot, *typing("@notes"))
        await offered(pilot, "my notes.txt")
        await settled(pilot)  # the list lies elsewhere while it is laid out
        await pilot.click(app.popup, offset=(3, 0))
        await until(pilot, lambda: len(app.composer.draft.attachments) == 2)
        assert app.composer.draft.attachments[1] == Attachment("my notes.txt", "content of my notes.txt\n")


@pytest.mark.parametrize(("query", "words"), [("png", "no text file"), ("gone", "not there any more")])
async def test_what_cannot_be_attached_is_explained_and_the_text_stays(folder: Path, query: str, words: str) -> None:
    (folder / "gone.txt").touch()
    app = ComposerApp(folder)
    async with app.run_test() as pilot:
        await press(pilot, "@", *query)
        await offered(pilot)
        (folder / "gone.txt").unlink()
        await press(pilot, "tab")
        await until(pilot, lambda: app.said)
        assert words in app.said[0]
        assert app.composer.text == f"@{query}"
        assert app.composer.draft.attachments == ()


def names(app: ComposerApp) -> list[str]:
    return [attachment.name for attachment in app.composer.draft.attachments]


async def test_backspace_at_the_start_marks_first_and_undo_brings_the_chip_back() -> None:
    one, two = Attachment("one", "1"), Attachment("two", "2")
    app = ComposerApp()
    async with app.run_test() as pilot:
        app.composer.fill("a", [one, two])
        await press(pilot, "backspace", "backspace")
        assert names(app) == ["one", "two"]
        await press(pilot, "escape")
        assert app.stopped == 0
        await press(pilot, "backspace", "x", "left", "delete", "backspace")
        assert names(app) == ["one", "two"]
        await press(pilot, "backspace")
        assert names(app) == ["one"]
        await press(pilot, "y")
        await press(pilot, "ctrl+z")
        assert (app.composer.text, names(app)) == ("", ["one"])
        await press(pilot, "ctrl+z")
        assert names(app) == ["one", "two"]


async def test_a_paste_that_became_a_chip_is_undone_before_what_was_typed_and_done_again() -> None:
    app = ComposerApp()
    async with app.run_test() as pilot:
        await press(pilot, *typing("see this"))
        app.post_message(events.Paste(LONG))
        await until(pilot, lambda: names(app) == ["pasted text 1"])
        await press(pilot, "ctrl+z")
        assert (app.composer.text, names(app)) == ("see this", [])
        await until(pilot, lambda: "pasted text 1" not in shown(app))
        await press(pilot, "ctrl+z")
        assert (app.composer.text, names(app)) == ("", [])
        await press(pilot, "ctrl+y")
        assert (app.composer.text, names(app)) == ("see this", [])
        await press(pilot, "ctrl+y")
        assert (app.composer.text, names(app)) == ("see this", ["pasted text 1"])
        await until(pilot, lambda: "pasted text 1" in shown(app))


async def test_a_completed_file_and_its_word_are_one_step(folder: Path) -> None:
    app = ComposerApp(folder)
    async with app.run_test() as pilot:
        await press(pilot, *typing("see @notes"))
        await offered(pilot, "my notes.txt")
        await press(pilot, "tab")
        await until(pilot, lambda: names(app) == ["my notes.txt"])
        assert app.composer.text == "see "
        await press(pilot, "ctrl+z")
        assert (app.composer.text, names(app)) == ("see @notes", [])
        await press(pilot, "ctrl+y")
        assert (app.composer.text, names(app)) == ("see ", ["my notes.txt"])


async def test_a_drop_is_done_again_and_a_new_step_ends_the_redoing() -> None:
    one, two = Attachment("one", "1"), Attachment("two", "2")
    app = ComposerApp()
    async with app.run_test() as pilot:
        app.composer.fill("", [one, two])
        await press(pilot, "backspace", "backspace", "ctrl+z")
        assert names(app) == ["one", "two"]
        await press(pilot, "ctrl+y")
        assert names(app) == ["one"]
        await press(pilot, "ctrl+z", "x", "ctrl+y")
        assert (app.composer.text, names(app)) == ("x", ["one", "two"])
        await press(pilot, "ctrl+z", "ctrl+z")
        assert (app.composer.text, names(app)) == ("", ["one", "two"])


async def test_a_file_that_took_the_place_of_another_gives_it_back() -> None:
    app = ComposerApp()
    async with app.run_test() as pilot:
        app.composer.fill("", [Attachment("a", "old")])
        app.composer.attach(Attachment("a", "new"))
        await press(pilot, "ctrl+z")
        assert app.composer.draft.attachments == (Attachment("a", "old"),)
        await press(pilot, "ctrl+y")
        assert app.composer.draft.attachments == (Attachment("a", "new"),)


async def test_what_was_sent_does_not_come_back_by_undoing() -> None:
    app = ComposerApp()
    async with app.run_test() as pilot:
        app.composer.attach(Attachment("a", ""))
        await press(pilot, "x", "enter", "ctrl+z", "ctrl+y")
        assert app.composer.outgoing.is_empty


async def test_a_click_on_the_cross_takes_a_chip_away() -> None:
    one, two = Attachment("one", "1"), Attachment("two", "2")
    app = ComposerApp()
    async with app.run_test() as pilot:
        app.composer.fill("", [one, two])
        await until(pilot, lambda: shown(app).count("×") == 2)
        row = next(line for line in shown(app).splitlines() if "×" in line)
        top = app.chips.region.y
        await pilot.click(offset=(row.index("one"), top))
        assert len(app.composer.draft.attachments) == 2
        await pilot.click(offset=(row.index("×"), top))
        await until(pilot, lambda: app.composer.draft.attachments == (two,))
        await press(pilot, "ctrl+z")
        assert app.composer.draft.attachments == (one, two)


async def test_chips_show_tokens_and_what_has_no_room_is_counted() -> None:
    app = ComposerApp()
    async with app.run_test(size=(60, 40)) as pilot:
        app.composer.fill("", [Attachment(f"file number {n}", "text") for n in range(12)])
        app.composer.set_attachment_tokens([1234])
        await until(pilot, lambda: "1,234 tokens" in shown(app) and "more" in shown(app))
        await until(pilot, lambda: app.chips.size.height == 3)
        assert sum(line.count("file number") for line in shown(app).splitlines()) + 9 == 12


async def test_the_same_file_again_takes_the_place_of_the_first() -> None:
    attached = Attached([Attachment("a", "old"), Attachment("b", "")])
    attached.add(Attachment("a", "new"))
    assert attached.attachments == (Attachment("a", "new"), Attachment("b", ""))


def test_chips_are_arranged_in_rows_and_cut_to_the_width() -> None:
    labels = [SafeText("aaaa"), SafeText("bbbb"), SafeText("中文" * 20)]
    spots = arrange(labels, 20)
    assert [(spot.row, spot.left) for spot in spots] == [(0, 0), (0, 9), (1, 0)]
    assert all(spot.right <= 20 for spot in spots)


def test_a_chip_knows_its_size_and_lines() -> None:
    assert Chip.of(Attachment("a", "ä\nb")).label == "a · 4 B · 2 lines"
    assert Chip.of(Attachment("a", "")).label == "a · 0 B · 0 lines"
    assert Chip.of(Attachment("x" * 60, "b\n")).with_tokens(5).label == "…" + "x" * 39 + " · 2 B · 1 line · 5 tokens"
