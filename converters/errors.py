"""The errors of a conversion: one sentence that names the file and says what to do."""

from __future__ import annotations


class ConversionError(Exception):
    """A conversion that cannot go on."""


class CheckpointError(ConversionError):
    """The source is no checkpoint that can be converted: missing, truncated, or of another architecture."""


class ResumableError(ConversionError):
    """A conversion that stopped for a reason that passes: disk full, network gone.

    What is finished stays in ``OUT.part``, and the same conversion goes on from there.
    """


class DamagedFileError(ResumableError):
    """A file's bytes are not those that its publisher announced; ``name`` is the file's."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
