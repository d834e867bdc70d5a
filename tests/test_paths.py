from __future__ import annotations

import os
import stat
import warnings
from pathlib import Path

import pytest

from localqwen import paths
from localqwen.errors import LocalqwenError


def test_home_holds_everything(home: Path) -> None:
    for folder in (paths.data_dir(), paths.models_dir(), paths.chats_path(), paths.log_dir()):
        assert folder.is_relative_to(home)


def test_runtime_directory_is_private_short_and_quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("LOCALQWEN_HOME", str(tmp_path / ("long" * 30)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folder = paths.runtime_dir()
    assert len(os.fsencode(folder)) <= paths.LONGEST_RUNTIME_DIR
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_two_homes_have_two_runtime_directories(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folders = set()
    for name in ("a", "b"):
        monkeypatch.setenv("LOCALQWEN_HOME", str(tmp_path / (name * 100)))
        folders.add(paths.runtime_dir())
    assert len(folders) == 2


def test_somebody_elses_runtime_directory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    with pytest.raises(LocalqwenError, match="belongs to another user"):
        paths.runtime_dir()
