from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from localqwen.cli import cli


def test_lists_the_catalogue_and_says_how_to_begin() -> None:
    result = CliRunner().invoke(cli, ["models"])
    assert result.exit_code == 0
    assert "localqwen demo" in result.output
    row = next(line for line in result.output.splitlines() if "qwen2-72b-instruct" in line)
    assert "72.71 B" in row
    assert "145.4 GB" in row
    assert "32k, 128k with YaRN" in row
    assert "tongyi-qianwen" in row


def test_lists_installed_files_without_their_control_characters(home: Path) -> None:
    folder = home / "data" / "models"
    folder.mkdir(parents=True)
    (folder / "Qwen2-7B-Instruct-Q4_K_M.gguf").write_bytes(b"GGUF" * 250_000)
    (folder / "evil\x1b[2J[bold]name.gguf").write_bytes(b"GGUF")
    result = CliRunner().invoke(cli, ["models"])
    assert "Qwen2-7B-Instruct-Q4_K_M" in result.output
    assert "Qwen2 7B Instruct" in result.output
    assert "\x1b[2J" not in result.output
    assert "[bold]name" in result.output


def test_the_folder_s_name_is_no_markup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "[red]home"
    (folder / "data" / "models").mkdir(parents=True)
    (folder / "data" / "models" / "x.gguf").write_bytes(b"GGUF")
    monkeypatch.setenv("LOCALQWEN_HOME", str(folder))
    assert "[red]home" in CliRunner().invoke(cli, ["models"]).output
