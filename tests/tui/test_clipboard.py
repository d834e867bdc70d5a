from __future__ import annotations

import base64
from pathlib import Path

import pytest
from textual.app import App

from tui.clipboard import LONGEST_OSC_52, ClipboardError, copy, osc_52, usable_tools


class Terminal:
    """Stands where Textual's driver stands."""

    def __init__(self) -> None:
        self.written = ""

    def write(self, data: str) -> None:
        self.written += data


def script(folder: Path, name: str, body: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
    for name in ("WAYLAND_DISPLAY", "DISPLAY", "TMUX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tui.clipboard.TIMEOUT_SECONDS", 0.5)
    return folder


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> App[object]:
    app: App[object] = App()
    monkeypatch.setattr(app, "_driver", Terminal())
    return app


def written(app: App[object]) -> str:
    assert isinstance(app._driver, Terminal)
    return app._driver.written


def test_only_tools_with_their_session_are_used(tools: Path) -> None:
    for name in ("wl-copy", "xclip", "xsel", "pbcopy"):
        script(tools, name, "cat")
    path = str(tools)
    names = [tool.command[0] for tool in usable_tools({"PATH": path, "DISPLAY": ":0"})]
    assert names == ["xclip", "xsel", "pbcopy"]
    assert usable_tools({"PATH": path, "WAYLAND_DISPLAY": "wayland-0"})[0].command == ("wl-copy",)
    assert [tool.command[0] for tool in usable_tools({"PATH": path})] == ["pbcopy"]


async def test_the_desktops_tool_gets_the_original_less_controls(
    tools: Path, app: App[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    script(tools, "wl-copy", f"cat > {tmp_path}/copied")
    assert await copy(app, "ä\t\x1b[31m\u202eb\r\n") == "wl-copy"
    assert (tmp_path / "copied").read_bytes() == "ä\t[31m\u202eb\n".encode()
    assert written(app) == ""


async def test_a_tool_that_fails_or_hangs_makes_room_for_the_next(
    tools: Path, app: App[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    monkeypatch.setenv("DISPLAY", ":0")
    script(tools, "wl-copy", "exit 1")
    script(tools, "xclip", "exec sleep 60")
    script(tools, "xsel", f"cat > {tmp_path}/copied")
    assert await copy(app, "text") == "xsel"
    assert (tmp_path / "copied").read_text() == "text"


async def test_without_a_desktop_the_terminal_is_asked(tools: Path, app: App[object]) -> None:
    assert await copy(app, "hello") == "the terminal"
    assert written(app) == f"\x1b]52;c;{base64.b64encode(b'hello').decode()}\x07"


def test_tmux_gets_it_plain_and_wrapped() -> None:
    plain = osc_52("a", {})
    assert osc_52("a", {"TMUX": "x"}) == plain + "\x1bPtmux;\x1b" + plain + "\x1b\\"


async def test_what_terminals_drop_is_refused_in_a_sentence(tools: Path, app: App[object]) -> None:
    with pytest.raises(ClipboardError, match=r"97\.7 KiB is too much for the terminal's clipboard"):
        await copy(app, "x" * 100_000)
    assert written(app) == ""
    assert osc_52("x" * LONGEST_OSC_52, {})


async def test_without_a_terminal_nothing_is_pretended(tools: Path) -> None:
    with pytest.raises(ClipboardError, match="no terminal"):
        await copy(App(), "x")
