"""Files that a person names while they chat."""

from __future__ import annotations

from pathlib import Path

from localqwen.errors import LocalqwenError


def named(name: str) -> Path:
    """The file that is meant, ``~`` included."""
    return Path(name.strip()).expanduser().absolute()


def new_file(name: str) -> Path:
    """The file that is meant, which must not be there yet.

    Raises:
        LocalqwenError: It is there, or its folder is not.
    """
    path = named(name)
    if path.exists():
        raise LocalqwenError(f"{path} is there already: choose another name.")
    if not path.parent.is_dir():
        raise LocalqwenError(f"there is no folder {path.parent}: make it, or choose another one.")
    return path
