"""Files that a person names while they chat."""

from __future__ import annotations

from pathlib import Path

from localqwen.errors import LocalqwenError


def named(name: str) -> Path:
    """The file that is meant, ``~`` included.

    Raises:
        LocalqwenError: There can be no such file.
    """
    name = name.strip()
    if "\0" in name:
        raise LocalqwenError("no file has a zero byte in its name: choose another name.")
    try:
        return Path(name).expanduser().absolute()
    except (RuntimeError, OSError) as error:
        # A home of somebody who is unknown here; a working directory that is gone.
        raise LocalqwenError(f"{name} leads nowhere ({_reason(error)}): choose another place.") from None


def new_file(name: str) -> Path:
    """The file that is meant, which must not be there yet.

    Raises:
        LocalqwenError: It is there, or its folder is not, or nobody can tell.
    """
    path = named(name)
    try:
        is_there, has_folder = path.exists(), path.parent.is_dir()
    except OSError as error:
        raise LocalqwenError(f"cannot write {path}: {_reason(error)}; choose another place.") from None
    if is_there:
        raise LocalqwenError(f"{path} is there already: choose another name.")
    if not has_folder:
        raise LocalqwenError(f"there is no folder {path.parent}: make it, or choose another one.")
    return path


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
