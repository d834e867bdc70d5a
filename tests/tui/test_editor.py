from __future__ import annotations

import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest
from textual.app import App

from tui.editor import EditorError, edit, editor_command


class LendingApp(App[object]):
    """An app that can be suspended without a terminal."""

    def __init__(self) -> None:
        super().__init__()
        self.lent = 0

    @contextmanager
    def suspend(self) -> Iterator[None]:
        self.lent += 1
        assert self._batch_count, "the app would paint over the editor"
        yield


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.delenv("VISUAL", raising=False)
    return folder


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script that the test fills."""
    file = tmp_path / "my editor"
    file.touch(0o755)
    monkeypatch.setenv("EDITOR", f"'{file}' --wait")
    return file


def left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def body(editor: Path, text: str) -> None:
    editor.write_text(f'#!/bin/sh\nfile="$2"\n{text}\n')


async def test_the_text_goes_there_and_comes_back(temporary: Path, editor: Path) -> None:
    body(editor, f'cp "$file" {temporary}/seen; ls -l "$file" > {temporary}/mode; printf "new\\r\\ntext\\n" > "$file"')
    async with LendingApp().run_test() as pilot:
        assert isinstance(pilot.app, LendingApp)
        assert await edit(pilot.app, "old ä") == "new\ntext"
        assert pilot.app.lent == 1
    assert (temporary / "seen").read_text() == "old ä"
    assert (temporary / "mode").read_text().startswith("-rw-------")
    assert set(left_in(temporary)) == {"seen", "mode"}


async def test_a_final_newline_that_was_there_stays(temporary: Path, editor: Path) -> None:
    body(editor, "true")
    async with LendingApp().run_test() as pilot:
        assert await edit(pilot.app, "old\n") == "old\n"


async def test_an_editor_that_fails_leaves_the_text_and_keeps_its_work(temporary: Path, editor: Path) -> None:
    body(editor, 'printf "hours of work" > "$file"; exit 3')
    async with LendingApp().run_test() as pilot:
        with pytest.raises(EditorError, match=r"failed \(exit code 3\), so the text is as it was\. What you wrote"):
            await edit(pilot.app, "old")
    (name,) = left_in(temporary)
    folder = temporary / name
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / "text.md").read_text() == "hours of work"


async def test_an_editor_that_was_left_without_saving_leaves_nothing(temporary: Path, editor: Path) -> None:
    body(editor, "kill -9 $$")
    async with LendingApp().run_test() as pilot:
        with pytest.raises(EditorError, match=r"signal 9\), so the text is as it was\.$"):
            await edit(pilot.app, "old")
    assert not left_in(temporary)


async def test_what_is_no_text_is_kept_where_it_is(temporary: Path, editor: Path) -> None:
    body(editor, 'printf "\\377" > "$file"')
    async with LendingApp().run_test() as pilot:
        with pytest.raises(EditorError, match="not in UTF-8; it is in"):
            await edit(pilot.app, "old")
    assert len(left_in(temporary)) == 1


async def test_reading_only_takes_nothing_back(temporary: Path, editor: Path) -> None:
    body(editor, f'ls -l "$file" > {temporary}/mode')
    async with LendingApp().run_test() as pilot:
        assert await edit(pilot.app, "code", suffix=".py", read_only=True) == "code"
    assert (temporary / "mode").read_text().startswith("-r--------")
    assert ".py" in (temporary / "mode").read_text()


async def test_what_was_changed_in_a_look_stays_in_its_file(temporary: Path, editor: Path) -> None:
    kept: list[Path] = []
    body(editor, "true")
    async with LendingApp().run_test() as pilot:
        await edit(pilot.app, "code", suffix=".py", on_changed=kept.append)
        assert not kept
        assert not left_in(temporary)
        body(editor, 'printf "better code" > "$file"')
        await edit(pilot.app, "code", suffix=".py", on_changed=kept.append)
    (file,) = kept
    assert (file.suffix, file.read_text()) == (".py", "better code")


async def test_without_a_terminal_to_lend_it_says_so(temporary: Path, editor: Path) -> None:
    async with App[object]().run_test() as pilot:
        with pytest.raises(EditorError, match="cannot open here"):
            await edit(pilot.app, "old")
    assert not left_in(temporary)


def test_the_settings_come_before_the_environment(tmp_path: Path) -> None:
    for name in ("one", "two", "three", "vi"):
        (tmp_path / name).touch(0o755)
    environ = {"PATH": str(tmp_path), "VISUAL": "two -x", "EDITOR": "three"}
    assert editor_command("one --wait 'a b'", environ) == ["one", "--wait", "a b"]
    assert editor_command(" ", environ) == ["two", "-x"]
    assert editor_command(None, {**environ, "VISUAL": ""}) == ["three"]
    assert editor_command(None, {"PATH": str(tmp_path)}) == ["vi"]


def test_an_editor_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(EditorError, match=r"^\$EDITOR names the editor gone, which is not there\.$"):
        editor_command(None, {"PATH": str(tmp_path), "EDITOR": "gone --wait"})
    with pytest.raises(EditorError, match="not closed"):
        editor_command("'x", {"PATH": str(tmp_path)})
    with pytest.raises(EditorError, match=r"set \$EDITOR"):
        editor_command(None, {"PATH": str(tmp_path)})


TICKING = """
import sys
from textual.app import App
from textual.widgets import Static
from tui.editor import edit

class Ticking(App):
    count = 0
    def compose(self):
        yield Static("begin")
    def on_mount(self):
        self.ticking = self.set_interval(0.01, self.tick, pause=True)
    def tick(self):
        self.count += 1
        if self.count == 40:
            open(sys.argv[1], "w").close()
        self.query_one(Static).update(f"tick {self.count}")
    async def key_e(self):
        self.ticking.resume()
        text = await edit(self, "old")
        self.query_one(Static).remove()
        await self.mount(Static(f"came back: {text} after {'many' if self.count > 20 else 'no'} ticks"))
        self.tick = lambda: None

Ticking().run()
"""


def test_a_real_terminal_is_the_editors_alone_while_the_app_goes_on(temporary: Path, editor: Path) -> None:
    # What the app writes meanwhile would stand between the editor's two lines.
    body(editor, 'trap "" INT; echo EDITING; read answer; printf "%s" "$answer" > "$file"; echo EDITED')
    ticked = temporary / "ticked"
    child = pexpect.spawn(
        sys.executable, ["-c", TICKING, str(ticked)], dimensions=(24, 80), encoding="utf-8", timeout=20
    )
    child.expect("begin")
    child.send("e")
    child.expect("EDITING\r\n")
    deadline = time.monotonic() + 20
    while not ticked.exists():  # the app's own word for it: it must write nothing to the terminal here
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.send("\x03")
    child.sendline("new text")
    child.expect("EDITED")
    assert child.before is not None
    assert "tick" not in child.before
    child.expect("came back: new text after many ticks")
    child.sendcontrol("q")
    child.expect(pexpect.EOF)
