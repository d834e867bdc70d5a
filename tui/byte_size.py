"""How many bytes that is, for a person."""

from __future__ import annotations


def human_size(count: int) -> str:
    """A number of bytes in words: ``812 B``, ``1.0 MiB``."""
    if count < 1024:
        return f"{count} B"
    size, unit = count / 1024, "KiB"
    if size >= 1024:
        size, unit = size / 1024, "MiB"
    return f"{size:,.1f} {unit}"
