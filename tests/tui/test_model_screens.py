"""The model picker and the settings, each over an app of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Select, TextArea

from localqwen.settings import Settings, read
from localqwen.settings_file import save
from tests.tui.fakes import GB, FakeSource
from tests.tui.test_sanitize import is_harmless
from tui.model_list import ModelRow
from tui.screens.models import ModelsScreen
from tui.screens.settings import SettingsScreen
from tui.theme import CONTRAST_DARK, DARK, THEMES, first_theme

HERE = ModelRow("mine-7b", "Mine", 5 * GB, 32768, 131072, Path("/m.gguf"))
EVIL = ModelRow("evil\x1b]52;c;x\x07[b]name[/b]\u202e", "", GB, path=Path("/evil.gguf"))
AWAY = ModelRow("qwen2-72b", "Qwen2 72B", 47 * GB, 32768, 131072)


class Host(App[None]):
    def __init__(self, *, ansi: bool | None = None) -> None:
        super().__init__(ansi_color=ansi)
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = DARK.name
        self.result: object = "open"

    def open(self, screen: ModelsScreen | SettingsScreen) -> None:
        def closed(result: object) -> None:
            self.result = result

        self.push_screen(screen, closed)


def lines(pilot: Pilot[None]) -> str:
    width, height = pilot.app.size
    strips = pilot.app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in line)[:width] for line in strips[:height])


async def shown(pilot: Pilot[None], *texts: str) -> None:
    await until_host(pilot, lambda: all(text in lines(pilot) for text in texts))


async def until_host(pilot: Pilot[None], condition: object) -> None:
    for _ in range(4000):
        if condition():  # type: ignore[operator]
            return
        await asyncio.sleep(0.005)
    raise AssertionError("waited in vain; the screen shows:\n" + lines(pilot))


async def models(pilot: Pilot[None], source: FakeSource, current: str = "") -> None:
    app = pilot.app
    assert isinstance(app, Host)
    app.open(ModelsScreen(source, current))
    await pilot.pause()


async def test_models_are_listed_judged_and_opened() -> None:
    app = Host()
    async with app.run_test(size=(110, 30)) as pilot:
        await models(pilot, FakeSource(HERE, AWAY), "other")
        await shown(pilot, "mine-7b", "5.0 GB", "32k–128k", "fits on the GPU", "~47.0 GB", "1.0 GB too large")
        await shown(pilot, "Enter opens it")
        await pilot.press("enter")
        await until_host(pilot, lambda: app.result != "open")
        assert isinstance(app.result, ModelRow)
        assert app.result.name == "mine-7b"


async def test_a_model_that_is_not_here_says_how_to_get_it() -> None:
    app = Host()
    async with app.run_test(size=(110, 30)) as pilot:
        await models(pilot, FakeSource(HERE, AWAY), "mine-7b")
        await shown(pilot, "This model is open.")
        await pilot.press("down")
        await shown(pilot, "`localqwen pull qwen2-72b`")
        await pilot.press("enter")
        assert app.result == "open"
        await pilot.press("escape")
        await until_host(pilot, lambda: app.result is None)


async def test_typing_filters() -> None:
    app = Host()
    async with app.run_test(size=(110, 30)) as pilot:
        await models(pilot, FakeSource(HERE, AWAY))
        await shown(pilot, "mine-7b", "GB too large")
        await pilot.press("7", "2")
        await until_host(pilot, lambda: pilot.app.screen.query_one(OptionList).option_count == 1)
        assert "mine-7b" not in lines(pilot)
        await pilot.press("x")
        await shown(pilot, "No model is called that.")
        await pilot.press("enter")
        assert app.result == "open"


async def test_the_list_has_no_empty_lines_and_stays_as_tall_while_it_is_filtered() -> None:
    app = Host()
    async with app.run_test(size=(110, 30)) as pilot:
        await models(pilot, FakeSource(HERE, AWAY, EVIL))
        await shown(pilot, "GB too large")
        found = app.screen.query_one(OptionList)
        assert found.size.height == found.option_count == 3
        await pilot.press("m", "i", "n", "e")
        await until_host(pilot, lambda: found.option_count == 1)
        assert found.size.height == 3


async def test_more_models_than_lines_can_be_scrolled() -> None:
    app = Host()
    async with app.run_test(size=(80, 16)) as pilot:
        await models(pilot, FakeSource(*(ModelRow(f"model-{number}", size=GB) for number in range(40))))
        await shown(pilot, "model-0", "1.0 GB", "fits")
        await pilot.press("up")
        await shown(pilot, "❯  model-39", "Not here yet")


async def test_a_file_name_is_foreign_text() -> None:
    app = Host()
    async with app.run_test(size=(110, 30)) as pilot:
        await models(pilot, FakeSource(EVIL))
        await shown(pilot, "[b]name[/b]")
        assert is_harmless(lines(pilot).replace("\n", ""))


async def test_without_colours_the_marked_model_has_a_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = Host(ansi=True)
    app.theme = first_theme(app.theme, app.available_themes, {"NO_COLOR": "1"})
    async with app.run_test(size=(110, 30)) as pilot:
        await models(pilot, FakeSource(HERE, AWAY))
        await shown(pilot, "mine-7b", "GB too large")
        await shown(pilot, "❯○ mine-7b", "   qwen2-72b")
        await pilot.press("down")
        await shown(pilot, " ○ mine-7b", "❯  qwen2-72b")
        segments = [segment for line in app.screen._compositor.render_strips() for segment in line if segment.style]
        assert all(
            color is None or color.is_default
            for segment in segments
            if segment.style is not None
            for color in (segment.style.color, segment.style.bgcolor)
        )


async def test_a_server_that_lists_nothing_says_why() -> None:
    app = Host()
    async with app.run_test(size=(110, 30)) as pilot:
        await models(pilot, FakeSource(error="The server is gone."))
        await shown(pilot, "The server is gone.")


async def settings(pilot: Pilot[None], now: Settings, path: Path) -> None:
    app = pilot.app
    assert isinstance(app, Host)

    async def keep(before: Settings, after: Settings) -> None:
        await asyncio.to_thread(save, path, before, after)

    app.open(SettingsScreen(now, path, keep))
    await shown(pilot, "Settings", "Ctrl+S saves")


async def test_settings_are_kept_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    app = Host()
    async with app.run_test(size=(110, 60)) as pilot:
        now = Settings(keys=(("help", "f3"),), temperature=0.5)
        save(path, Settings(), now)
        await settings(pilot, now, path)
        app.screen.query_one("#setting-temperature", Input).value = ""
        app.screen.query_one("#setting-top_k", Input).value = " 20 "
        app.screen.query_one("#setting-sidebar", Select).value = False
        app.screen.query_one("#setting-system_prompt", TextArea).text = "Be\nbrief."
        await pilot.press("ctrl+s")
        await until_host(pilot, lambda: app.result != "open")
    kept, complaints = read(path)
    assert complaints == []
    assert kept == app.result == Settings(top_k=20, sidebar=False, system_prompt="Be\nbrief.", keys=(("help", "f3"),))


async def test_a_theme_is_shown_at_once_and_taken_back(tmp_path: Path) -> None:
    app = Host()
    async with app.run_test(size=(110, 60)) as pilot:
        await settings(pilot, Settings(), tmp_path / "s.toml")
        app.screen.query_one("#setting-theme", Select).value = CONTRAST_DARK.name
        await until_host(pilot, lambda: app.theme == CONTRAST_DARK.name)
        await pilot.press("escape")
        await until_host(pilot, lambda: app.result is None)
        assert app.theme == DARK.name
        assert not (tmp_path / "s.toml").exists()


@pytest.mark.parametrize(("name", "value"), [("temperature", "hot"), ("top_k", "1.5"), ("max_tokens", "0")])
async def test_what_is_wrong_is_said_and_nothing_written(tmp_path: Path, name: str, value: str) -> None:
    app = Host()
    async with app.run_test(size=(110, 60)) as pilot:
        await settings(pilot, Settings(), tmp_path / "s.toml")
        app.screen.query_one(f"#setting-{name}", Input).value = value
        await pilot.press("ctrl+s")
        await shown(pilot, f"{name.replace('_', ' ')} must be a")
        assert app.result == "open"
        assert not (tmp_path / "s.toml").exists()


async def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    app = Host()
    async with app.run_test(size=(110, 60)) as pilot:
        await settings(pilot, Settings(), tmp_path / "file" / "s.toml")
        await pilot.press("ctrl+s")
        await shown(pilot, "cannot be written")
