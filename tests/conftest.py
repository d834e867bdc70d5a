"""Fixtures that every part shares: a home of its own for each test, and the real models of ``tests/fixtures``."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from localqwen import paths
from tests import fixtures


def pytest_configure() -> None:
    """Let Ctrl-C be tested everywhere: a shell starts background jobs (CI's, for one) with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the planner notes about this machine's speed, which takes a second to measure."""
    from localqwen.engine.inventory import take_inventory
    from localqwen.engine.notebook import Notebook

    path = tmp_path_factory.mktemp("planner") / "planner.json"
    take_inventory(Notebook(path))
    return path


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, measured: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``LOCALQWEN_HOME`` of its own, so that no test sees or touches the user's models and conversations."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("LOCALQWEN_HOME", str(folder))
    planner = paths.planner_path()
    planner.parent.mkdir(parents=True)
    shutil.copy(measured, planner)
    return folder


@pytest.fixture(scope="session")
def demo_gguf() -> Path:
    """The demo model, converted once and kept in the tests' cache."""
    return fixtures.demo_gguf()


@pytest.fixture
def demo_home(home: Path, demo_gguf: Path) -> Path:
    """A home in which the demo model is installed."""
    folder = home / "data" / "models"
    folder.mkdir(parents=True)
    (folder / demo_gguf.name).symlink_to(demo_gguf)
    return home
