"""Where localqwen keeps things, following the platform's conventions.

``LOCALQWEN_HOME`` moves all of it under one folder, for portable disks and for tests.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from pathlib import Path

import platformdirs

from localqwen.errors import LocalqwenError

APP = "localqwen"

# A socket's address has room for 108 bytes on Linux and 104 on macOS; the file's own name needs the rest.
LONGEST_RUNTIME_DIR = 70


def _place(kind: str, platform_default: str) -> Path:
    home = os.environ.get("LOCALQWEN_HOME")
    return Path(home).expanduser() / kind if home else Path(platform_default)


def data_dir() -> Path:
    """Models, checkpoints and conversations: what a person would miss."""
    return _place("data", platformdirs.user_data_dir(APP, appauthor=False))


def models_dir() -> Path:
    """Installed GGUF files."""
    return data_dir() / "models"


def checkpoints_dir() -> Path:
    """Hugging Face checkpoints that localqwen made itself (the demo's)."""
    return data_dir() / "checkpoints"


def chats_path() -> Path:
    """The SQLite file with all conversations."""
    return data_dir() / "chats.sqlite3"


def settings_path() -> Path:
    """The person's settings, a TOML file that they may edit."""
    return _place("config", platformdirs.user_config_dir(APP, appauthor=False)) / "settings.toml"


def planner_path() -> Path:
    """What the planner has measured and learned on this machine."""
    return _cache_dir() / "planner.json"


def states_dir() -> Path:
    """Conversations that had no room in memory, as llama.cpp computed them: whatever is missing is computed again."""
    return _cache_dir() / "states"


def _cache_dir() -> Path:
    return _place("cache", platformdirs.user_cache_dir(APP, appauthor=False))


def log_dir() -> Path:
    """Logs of the server process."""
    return _place("logs", platformdirs.user_log_dir(APP, appauthor=False))


def runtime_dir() -> Path:
    """Sockets and locks of running servers; private (mode 0700), because whoever can open one can use the model.

    Unix socket paths may have about 100 bytes, so a long ``LOCALQWEN_HOME`` is represented by its digest under the
    platform's short runtime directory. Raises :class:`LocalqwenError` when somebody else owns the directory.
    """
    path = _place("run", _platform_runtime_dir())
    if len(os.fsencode(path)) > LONGEST_RUNTIME_DIR:
        path = Path(_platform_runtime_dir()) / hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Whoever owns the folder above could put another directory in this one's place.
    if path.stat().st_uid != os.getuid() or path.parent.stat().st_uid not in {os.getuid(), 0}:
        raise LocalqwenError(f"{path} belongs to another user: set XDG_RUNTIME_DIR to a private directory of yours.")
    path.chmod(0o700)
    return path


def _platform_runtime_dir() -> str:
    with warnings.catch_warnings():
        # Without a login session there is no XDG_RUNTIME_DIR; the fallback that platformdirs warns of is fine here.
        warnings.simplefilter("ignore")
        return platformdirs.user_runtime_dir(APP, appauthor=False)
