"""Settings of the app: saved, at work at once, and after a restart."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import Input, Select, Static, TextArea

from localqwen import paths
from localqwen.chats.store import Store
from localqwen.settings import Settings, read
from localqwen.settings_file import save
from tests.tui.stage import Stage, staged, written
from tui.screens.help import HelpScreen
from tui.screens.line import LineScreen
from tui.screens.settings import SettingsScreen


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


def write(path: Path, text: str) -> None:
    path.write_text(text)


async def changed(stage: Stage) -> None:
    await stage.press("f8")
    await stage.opens(SettingsScreen)
    await stage.sees("Settings", "Ctrl+S saves")


async def saved(stage: Stage) -> None:
    await stage.press("ctrl+s")
    await stage.is_back()


async def test_what_is_saved_counts_at_once_and_after_a_restart(store: Store, path: Path) -> None:
    write(path, "# mine\n[chat]\nsystem_prompt = 'Old.'\n")
    async with staged(store, settings=read(path)[0], settings_path=path) as stage:
        await changed(stage)
        await stage.fill("#setting-system_prompt", "Be kind.")
        await stage.fill("#setting-top_k", "7")
        stage.app.screen.query_one("#setting-sidebar", Select).value = False
        await saved(stage)
        await stage.press("ctrl+n")
        await stage.ask("And?", "Kindly.")
        assert stage.client.asked[0][0] == {"role": "system", "content": "Be kind."}
        assert stage.client.params[0].top_k == 7
    assert written(str(path)).startswith("# mine")
    settings, complaints = read(path)
    assert complaints == []
    async with staged(store, settings=settings, settings_path=path) as stage:
        await stage.misses("Conversations")
        await stage.ask("And now?", "Still.")
        assert stage.client.asked[0][0] == {"role": "system", "content": "Be kind."}


def help_line(stage: Stage, words: str) -> str:
    text = str(stage.app.screen.query_one("#help-text", Static).render())
    return next((line for line in text.splitlines() if words in line), "")


async def test_a_key_of_the_file_works_in_the_place_of_the_old_one(store: Store, path: Path) -> None:
    write(path, '[keys]\n"help" = "f10"\n"answer.regenerate" = "f12"\n"composer.send" = "alt+s"\n')
    settings, complaints = read(path)
    assert complaints == []
    async with staged(store, settings=settings, settings_path=path) as stage:
        await stage.press("f1")
        await stage.press("f10")
        await stage.opens(HelpScreen)
        await stage.until(lambda: help_line(stage, "all commands and keys").startswith("/help"))
        assert "F10" in help_line(stage, "all commands and keys")
        await stage.press("escape")
        await stage.is_back()
        stage.composer.insert("A number?")
        await stage.press("alt+s")
        await stage.until(lambda: stage.client.asked)
        stage.client.answer("one")
        await stage.rests()
        await stage.press("ctrl+r")
        await stage.press("f12")
        await stage.until(lambda: len(stage.client.asked) == 2)
        stage.client.answer("two")
        await stage.sees("‹ 2/2 ›")
        await changed(stage)
        await stage.fill("#setting-seed", "5")
        await saved(stage)
        assert dict(read(path)[0].keys) == dict(settings.keys)
        await stage.press("f10")
        await stage.opens(HelpScreen)


async def test_the_themes_go_round_and_the_last_one_is_kept(store: Store, path: Path) -> None:
    async with staged(store, settings=Settings(), settings_path=path) as stage:
        await stage.ask("How?", "```python\nprint(1)\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
        seen = [stage.app.theme]
        while True:
            await stage.press("ctrl+t")
            await stage.until(lambda: stage.app.theme != seen[-1])
            await stage.sees("print(1)")
            if stage.app.theme == seen[0]:
                break
            seen.append(stage.app.theme)
        assert seen == [
            "localqwen-dark",
            "localqwen-light",
            "localqwen-contrast-dark",
            "localqwen-contrast-light",
            "ansi-dark",
            "ansi-light",
        ]
        await stage.slash("theme nord")
        await stage.until(lambda: read(path)[0].theme == "nord")
    async with staged(store, settings=read(path)[0], settings_path=path) as stage:
        assert stage.app.theme == "nord"


async def test_a_complaint_about_the_file_is_told(store: Store) -> None:
    async with staged(store, complaints=["settings.toml, line 3: there is no table [colours]."]) as stage:
        await stage.sees("there is no table [colours]")


async def test_enter_breaks_the_line_where_alt_enter_sends(store: Store) -> None:
    async with staged(store, settings=Settings(send="alt+enter")) as stage:
        await stage.until(lambda: stage.hint == "Alt+Enter sends")
        await stage.sees("Alt+Enter sends, Enter breaks the line, Esc stops an answer")
        await stage.write("one")
        await stage.press("enter")
        await stage.write("two")
        await stage.press("alt+enter")
        await stage.until(lambda: stage.client.asked)
        assert stage.client.asked[0][-1]["content"] == "one\ntwo"
        await stage.until(lambda: stage.hint == "Esc stops, Alt+Enter queues")


async def test_the_border_names_the_keys_of_the_file_and_a_command_without_a_key_gets_one(store: Store) -> None:
    keys = (("composer.send", "f6"), ("answer.stop", "f10"), ("chat.rename", "f12"))
    async with staged(store, settings=Settings(keys=keys)) as stage:
        await stage.until(lambda: stage.hint == "F6 sends")
        stage.composer.insert("A bird?")
        await stage.press("f6")
        await stage.until(lambda: stage.hint == "F10 stops, F6 queues")
        stage.client.answer("The penguin.")
        await stage.until(lambda: stage.hint == "F6 sends")
        await stage.press("f12")
        await stage.opens(LineScreen)


async def test_a_line_of_keys_that_cannot_count_is_named_and_its_default_does(store: Store) -> None:
    async with staged(store, settings=Settings(keys=(("help", "escape"),))) as stage:
        await stage.hears_of('[keys] "help" = "escape": Esc is the key of')
        await stage.press("f1")
        await stage.opens(HelpScreen)


async def test_without_colours_the_theme_of_the_file_stays(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    write(path, '[view]\ntheme = "nord"\n')
    async with staged(store, settings=read(path)[0], settings_path=path) as stage:
        await changed(stage)
        await stage.fill("#setting-seed", "5")
        await saved(stage)
        assert (read(path)[0].theme, read(path)[0].seed) == ("nord", 5)
        assert stage.app.theme == "ansi-dark"


async def test_without_a_file_nothing_is_written(store: Store) -> None:
    async with staged(store, settings=Settings()) as stage:
        await stage.press("f8")
        await stage.opens(SettingsScreen)
        await stage.sees("until you quit")
        await stage.fill("#setting-seed", "5")
        await saved(stage)
        assert stage.app.settings.seed == 5
    assert not paths.settings_path().exists()


async def test_the_last_of_many_themes_is_the_one_in_the_file(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written_slowly = iter([0.2, 0.0, 0.0])

    def slow(to: Path, before: Settings, after: Settings) -> None:
        time.sleep(next(written_slowly))
        save(to, before, after)

    monkeypatch.setattr("localqwen.settings_file.save", slow)
    async with staged(store, settings=Settings(), settings_path=path) as stage:
        await stage.press("ctrl+t", "ctrl+t", "ctrl+t")
        last = stage.app.theme
        await stage.press("ctrl+q")
        await stage.until(lambda: not stage.app.is_running)
    assert read(path)[0].theme == last


async def test_a_long_text_is_lost_by_no_single_key(store: Store, path: Path) -> None:
    async with staged(store, settings_path=path) as stage:
        await changed(stage)
        await stage.fill("#setting-system_prompt", "A long one.")
        await stage.press("escape")
        await stage.sees("again gives the changes up")
        await stage.press("escape")
        await stage.is_back()


async def test_a_preview_of_a_theme_is_taken_back(store: Store, path: Path) -> None:
    async with staged(store, settings=Settings(), settings_path=path) as stage:
        await changed(stage)
        stage.app.screen.query_one("#setting-theme", Select).value = "nord"
        await stage.until(lambda: stage.app.theme == "nord")
        await stage.press("escape")
        await stage.is_back()
        assert stage.app.theme == "localqwen-dark"
    assert read(path)[0] == Settings()


async def test_a_field_that_holds_no_number_can_be_left(store: Store, path: Path) -> None:
    async with staged(store, settings=Settings(), settings_path=path) as stage:
        await stage.press("f8")
        await stage.opens(SettingsScreen)
        stage.app.screen.query_one("#setting-temperature", Input).value = "nan"
        await stage.press("escape")
        await stage.sees("Esc again gives the changes up")
        await stage.press("escape")
        await stage.until(lambda: not isinstance(stage.app.screen, SettingsScreen))


async def test_dialogs_name_the_keys_of_the_file(store: Store) -> None:
    keys = (("dialog.accept", "f10"), ("dialog.cancel", "f12"), ("find.close", "f9"), ("answer.stop", "f6"))
    async with staged(store, settings=Settings(keys=keys)) as stage:
        await stage.ask("A bird?", "The penguin.")
        await stage.press("f5")
        await stage.sees("F10 asks again", "F12 cancels")
        await stage.press("f12", "f4")
        await stage.sees("Enter opens, F12 closes")
        await stage.press("f12", "f3")
        await stage.sees("Enter next, F9 closes")
        await stage.press("f9")
        await stage.slash("rename")
        await stage.sees("Enter takes it, F12 cancels")


async def test_neither_a_theme_nor_a_saved_setting_takes_back_what_was_written_meanwhile(
    store: Store, path: Path
) -> None:
    write(path, "[chat]\nsystem_prompt = 'Old.'\n")
    async with staged(store, settings=read(path)[0], settings_path=path) as stage:
        write(path, "# by hand\n[chat]\nsystem_prompt = 'New.'\n[sampling]\ntemperature = 3  # a slip\n")
        await stage.press("ctrl+t")
        await stage.until(lambda: read(path)[0].theme == "localqwen-light")
        await changed(stage)
        await stage.fill("#setting-top_k", "7")
        await saved(stage)
        assert read(path)[0] == Settings(theme="localqwen-light", system_prompt="New.", top_k=7)
        assert written(str(path)).startswith("# by hand\n")
        assert "temperature = 3  # a slip\n" in written(str(path))


async def test_without_colours_a_theme_is_seen_nowhere_and_kept_only_by_name(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    write(path, '[view]\ntheme = "nord"\n')
    async with staged(store, settings=read(path)[0], settings_path=path) as stage:
        await stage.press("ctrl+t")
        await stage.hears_of("NO_COLOR is set")
        await changed(stage)
        select = stage.app.screen.query_one("#setting-theme", Select)
        assert select.value == "nord"
        select.value = "gruvbox"
        await stage.pilot.pause()
        assert stage.app.theme == "ansi-dark"
        await stage.press("escape")
        await stage.is_back()
        assert written(str(path)) == '[view]\ntheme = "nord"\n'
        await stage.slash("theme dracula")
        await stage.until(lambda: read(path)[0].theme == "dracula")
        assert stage.app.theme == "ansi-dark"


async def test_a_theme_that_there_is_none_of_is_named_and_stays_in_the_file(store: Store, path: Path) -> None:
    write(path, '[view]\ntheme = "drakula"\n')
    async with staged(store, settings=read(path)[0], settings_path=path) as stage:
        await stage.hears_of('[view] theme = "drakula": there is no such theme (did you mean dracula?)')
        await changed(stage)
        await stage.fill("#setting-seed", "5")
        await saved(stage)
        assert (read(path)[0].theme, stage.app.theme) == ("drakula", "localqwen-dark")


async def test_what_is_not_touched_is_saved_as_it_was(store: Store, path: Path) -> None:
    before = Settings(
        system_prompt="Say\u2067 so.\n  Twice  ", editor="my  editor\t--wait", temperature=0.123456789, theme="nord"
    )
    save(path, Settings(), before)
    async with staged(store, settings=before, settings_path=path) as stage:
        await changed(stage)
        await stage.fill("#setting-top_k", "7")
        await saved(stage)
        assert read(path)[0] == stage.app.settings == replace(before, top_k=7)
        await changed(stage)
        stage.app.screen.query_one("#setting-system_prompt", TextArea).insert("!", (1, 0))
        stage.app.screen.query_one("#setting-editor", Input).insert("!", 0)
        await saved(stage)
        assert read(path)[0].system_prompt == "Say\u2067 so.\n!  Twice  "
        assert read(path)[0].editor == "!my  editor --wait"


async def test_animations_and_a_system_prompt_count_at_once(store: Store, path: Path) -> None:
    async with staged(store, settings=Settings(animations=False, system_prompt="Old."), settings_path=path) as stage:
        await stage.write("a draft")
        await changed(stage)
        stage.app.screen.query_one("#setting-animations", Select).value = True
        stage.app.screen.query_one("#setting-plain", Select).value = True
        await stage.fill("#setting-system_prompt", "New.")
        await saved(stage)
        await stage.hears_of("The next start is a chat in lines.")
        assert stage.app.animation_level == "full"
        await stage.press("enter")
        await stage.until(lambda: stage.client.asked)
        assert stage.client.asked[0][0] == {"role": "system", "content": "New."}
        stage.client.answer("Yes.")
        await stage.rests()
        # It is a beginning: what has been said already was said under the old one.
        await changed(stage)
        await stage.fill("#setting-system_prompt", "Newer.")
        await saved(stage)
        await stage.ask("And?", "Yes.")
        assert stage.client.asked[1][0] == {"role": "system", "content": "New."}
