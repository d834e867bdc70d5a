"""Text files and long pastes that go out beside a message: reading them, naming them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from localqwen.chats.attachment import Attachment
from localqwen.errors import LocalqwenError
from localqwen.ordinary_file import NotAnOrdinaryFileError, read_ordinary
from tui.byte_size import human_size
from tui.completion import mentions
from tui.sanitize import safe_line, without_controls

LARGEST_FILE = 8 << 20


class AttachmentError(LocalqwenError):
    """A file that cannot be attached; its text is a sentence for the person."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is offered for sending: the text as it was typed, and what goes with it."""

    text: str = ""
    attachments: tuple[Attachment, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it that a model could read."""
        return not self.text.strip() and not self.attachments


def pasted(text: str, taken: Sequence[Attachment]) -> Attachment:
    """A paste as an attachment, with a name that none of the others has."""
    names = {attachment.name for attachment in taken}
    number = next(n for n in range(1, len(names) + 2) if f"pasted text {n}" not in names)
    return Attachment(f"pasted text {number}", text)


def named_files(text: str, base: Path, but: Collection[str]) -> tuple[list[Attachment], list[AttachmentError]]:
    """The files that a text names as ``@path``, and what is wrong with those that cannot be attached.

    What is no file is only text. Files whose names are in ``but`` are left out. Blocks; call it in a thread.
    """
    found: dict[str, Attachment] = {}
    wrong = []
    for readings in mentions(text):
        name = next((one for one in readings if _is_file(one, base)), None)
        if name is None or name in but or name in found:
            continue
        try:
            found[name] = read_attachment(name, base)
        except AttachmentError as error:
            wrong.append(error)
    return list(found.values()), wrong


def is_within(name: str) -> bool:
    """Whether a path stays in the folder where it starts, as far as its words tell."""
    return not name.startswith(("~", "/")) and not Path(name).is_absolute() and ".." not in Path(name).parts


def _is_file(name: str, base: Path) -> bool:
    try:
        return (base / Path(name).expanduser()).is_file()
    except (OSError, ValueError, RuntimeError):
        return False


def read_attachment(path: str, base: Path) -> Attachment:
    """The text file at ``path``, which may begin with ``~`` and else starts from ``base``.

    Blocks; call it in a thread.

    Raises:
        AttachmentError: it is no text in UTF-8, too big, gone, unreadable, or no file.
    """
    name = safe_line(path)
    try:
        place = base / Path(path).expanduser()
        data = read_ordinary(place, LARGEST_FILE)
    except FileNotFoundError:
        raise AttachmentError(f"{name} is not there any more.") from None
    except IsADirectoryError:
        raise AttachmentError(f"{name} is a folder: attach the files in it one by one.") from None
    except NotAnOrdinaryFileError:
        raise AttachmentError(f"{name} is no ordinary file, so it cannot be attached.") from None
    except PermissionError:
        raise AttachmentError(f"You may not read {name}.") from None
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AttachmentError(f"{name} could not be read: {safe_line(reason)}.") from None
    if len(data) > LARGEST_FILE:
        raise AttachmentError(f"{name} has more than {human_size(LARGEST_FILE)}, the most that can be attached.")
    if b"\0" in data:
        raise AttachmentError(f"{name} is no text file, so a model cannot read it.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise AttachmentError(f"{name} is not in UTF-8: save it in that encoding to attach it.") from None
    return Attachment(path, without_controls(text))
