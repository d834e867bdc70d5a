"""Files that go with a message, and the one form in which a model reads them. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attachment:
    """A text file as it was when it was attached; ``name`` is foreign text like any other."""

    name: str
    text: str


def fence_for(text: str) -> str:
    """A Markdown fence that nothing in ``text`` can close."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    return "`" * max(3, longest + 1)


def fenced(text: str) -> str:
    """``text`` between two lines that nothing in it can close."""
    fence = fence_for(text)
    end = "" if not text or text.endswith("\n") else "\n"
    return f"{fence}\n{text}{end}{fence}"


def content_of(text: str, attachments: Sequence[Attachment]) -> str:
    """What the model reads of a message: its files first, then what was typed.

    The files come first because a question is answered better after what it is about. Each is a line ``File: name``
    and a fence around its text.
    """
    files = [f"File: {' '.join(attachment.name.split())}\n{fenced(attachment.text)}" for attachment in attachments]
    return "\n\n".join([*files, text] if text else files)
