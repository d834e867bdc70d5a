"""Every command of the table, by every way that leads to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from localqwen.chats.store import Store
from localqwen.settings import Settings
from tests.tui.commands import answers, conversations, machine, reading  # noqa: F401 (they fill DEEDS)
from tests.tui.commands.deeds import DEEDS
from tests.tui.commands.ways import Do, Way, ways
from tests.tui.fakes import GB, FakeSource
from tests.tui.stage import staged
from tui.app import ChatApp
from tui.commands import BY_ID, COMMANDS, Command
from tui.model_list import ModelRow

ALL = [pytest.param(command, way, id=f"{command.id}-{way.__name__}") for command in COMMANDS for way in ways(command)]


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory, an editor that keeps what it is given, and two models to choose from."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\ncp "$1" "seen.${1##*.}"\n')
    editor.chmod(0o755)

    @contextmanager
    def lent(_: ChatApp) -> Iterator[None]:
        yield

    monkeypatch.setattr(ChatApp, "suspend", lent)
    rows = (
        ModelRow("other-7b", "Other", 5 * GB, 32768, 131072, Path("o.gguf")),
        ModelRow("too-large-72b", "", 100 * GB),
    )
    monkeypatch.setattr("tui.model_source.source_for", lambda *_: FakeSource(*rows))
    return folder


@pytest.mark.parametrize(("command", "way"), ALL)
async def test_a_command_does_the_same_by_its_key_by_slash_and_by_the_palette(
    command: Command, way: Way, store: Store, workshop: Path
) -> None:
    settings = Settings(editor=str(workshop.parent / "editor"))
    path = workshop.parent / "settings.toml"
    async with staged(store, settings=settings, settings_path=path) as stage:
        await stage.sees("ready")
        await DEEDS[command.id](stage, Do(stage, command, way))


def test_there_are_no_deeds_of_commands_that_are_gone() -> None:
    assert set(DEEDS) == set(BY_ID)


def test_every_command_has_a_handler(app: ChatApp) -> None:
    assert set(app.chat.handlers) == set(BY_ID)
