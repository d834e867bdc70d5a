"""A text in the person's own editor, and back."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from textual.app import App, SuspendNotSupported

from localqwen.errors import LocalqwenError
from tui.sanitize import safe_line, without_controls

FALLBACKS = ("editor", "nano", "micro", "vim", "vi", "emacs")
LARGEST_RESULT = 64 << 20


class EditorError(LocalqwenError):
    """The editor gave nothing back; its text is a sentence for the person. What was to be edited is unchanged."""


def editor_command(configured: str | None = None, environ: Mapping[str, str] = os.environ) -> list[str]:
    """The editor to run: ``configured`` (the settings), ``$VISUAL``, ``$EDITOR``, or one of the usual ones.

    Raises:
        EditorError: the one that is named is not there, or none is.
    """
    path = environ.get("PATH")
    for source, value in (
        ("The settings", configured),
        ("$VISUAL", environ.get("VISUAL")),
        ("$EDITOR", environ.get("EDITOR")),
    ):
        if not value or not value.strip():
            continue
        try:
            command = shlex.split(value)
        except ValueError:
            raise EditorError(f"{source} names an editor with a quote that is not closed: {safe_line(value)}") from None
        if shutil.which(command[0], path=path) is None:
            what = "name" if source == "The settings" else "names"
            raise EditorError(f"{source} {what} the editor {safe_line(command[0])}, which is not there.")
        return command
    for name in FALLBACKS:
        if shutil.which(name, path=path):
            return [name]
    raise EditorError("There is no editor here: set $EDITOR to one.")


async def edit(
    app: App[Any],
    text: str,
    *,
    suffix: str = ".md",
    configured: str | None = None,
    read_only: bool = False,
    on_changed: Callable[[Path], object] | None = None,
) -> str:
    """Lend the terminal to an editor on ``text`` until the person is done, and return what was saved.

    The app paints nothing meanwhile, but its event loop goes on: an answer on its way is still kept. With
    ``read_only`` the file cannot be written and ``text`` comes back. A final newline that the editor added goes.
    With ``on_changed`` a file that was changed stays, and that is called with it.

    Raises:
        EditorError: no editor, no terminal to lend, the editor failed, or what it saved is no text.
    """
    command = editor_command(configured)
    try:
        folder = Path(tempfile.mkdtemp(prefix="localqwen-"))
    except OSError as error:
        raise EditorError(f"There is no place for the editor's file: {safe_line(str(error))}") from None
    file = folder / f"text{suffix}"
    keep = False
    try:
        _write(file, text, 0o400 if read_only else 0o600)
        # If the app ends before the editor does, its work must not go with it.
        keep = not read_only
        try:
            # The batch keeps Textual from painting over the editor: suspending alone does not.
            with app.batch_update(), app.suspend(), _interrupts_are_the_editors():
                code = await asyncio.to_thread(_run, [*command, str(file)])
            keep = False
        except SuspendNotSupported:
            keep = False
            raise EditorError("An editor cannot open here, because this is no terminal that could be lent.") from None
        if read_only:
            return text
        if code != 0:
            keep = _differs(file, text)
            where = f" What you wrote in it is in {safe_line(str(file))}." if keep else ""
            raise EditorError(f"{safe_line(command[0])} failed ({_reason(code)}), so the text is as it was.{where}")
        try:
            after = _read(file, text)
            keep = on_changed is not None and after != text
            if on_changed is not None and keep:
                on_changed(file)
            return after
        except EditorError:
            keep = file.exists()
            raise
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _write(file: Path, text: str, mode: int) -> None:
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
            stream.write(text.encode("utf-8", "replace"))
    except OSError as error:
        raise EditorError(f"The editor's file could not be written: {safe_line(str(error))}") from None


def _read(file: Path, before: str) -> str:
    try:
        if file.stat().st_size > LARGEST_RESULT:
            raise EditorError(f"What was saved is too long to take back; it is in {safe_line(str(file))}.")
        saved = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise EditorError("The editor removed its file, so the text is as it was.") from None
    except OSError as error:
        raise EditorError(f"What was saved could not be read: {safe_line(str(error))}") from None
    except UnicodeDecodeError:
        raise EditorError(f"What was saved is not in UTF-8; it is in {safe_line(str(file))}.") from None
    after = without_controls(saved)
    return after[:-1] if after.endswith("\n") and not before.endswith("\n") else after


def _differs(file: Path, text: str) -> bool:
    try:
        return file.read_bytes() not in {(encoded := text.encode("utf-8", "replace")), encoded + b"\n", b""}
    except OSError:
        return False


def _run(command: Sequence[str]) -> int | OSError:
    try:
        return subprocess.run(command, check=False).returncode
    except OSError as error:
        return error


def _reason(code: int | OSError) -> str:
    match code:
        case OSError():
            return safe_line(code.strerror or str(code))
        case _ if code < 0:
            return f"it was ended by signal {-code}"
        case _:
            return f"exit code {code}"


@contextmanager
def _interrupts_are_the_editors() -> Iterator[None]:
    # Ctrl+C reaches every process of the terminal. A handler of our own, unlike "ignore", is not inherited.
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def nothing(_signal: int, _frame: FrameType | None) -> None:
        pass

    before = signal.signal(signal.SIGINT, nothing)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
