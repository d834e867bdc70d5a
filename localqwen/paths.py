"""Where localqwen keeps things, following the platform's conventions.

``LOCALQWEN_HOME`` moves all of it under one folder, for portable disks and for tests.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

APP = "localqwen"


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


def log_dir() -> Path:
    """Logs of the server process."""
    return _place("logs", platformdirs.user_log_dir(APP, appauthor=False))


def runtime_dir() -> Path:
    """Sockets and locks of running servers; made private (mode 0700) because whoever can open one can use the model.

    Unix socket paths may have about 100 bytes, so the platform's short runtime directory is used even when
    ``LOCALQWEN_HOME`` is long; the directory under it is then told apart by the home it belongs to.
    """
    path = _place("run", platformdirs.user_runtime_dir(APP, appauthor=False))
    if len(os.fsencode(path)) > 70:
        import hashlib

        digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
        path = Path(platformdirs.user_runtime_dir(APP, appauthor=False)) / digest
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.chmod(0o700)
    return path
