"""The errors of a conversion: one sentence that names the file and says what to do."""

from __future__ import annotations


class ConversionError(Exception):
    """A conversion that cannot go on."""


class CheckpointError(ConversionError):
    """The source is no checkpoint that can be converted: missing, truncated, or of another architecture."""
