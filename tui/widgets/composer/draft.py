"""The attachments of a draft: adding, marking, taking away, and getting back. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from localqwen.chats.attachment import Attachment
from tui.widgets.chips import Chip


@dataclass(frozen=True, slots=True)
class _Dropped:
    chip: Chip
    index: int
    depth: int


class Attached:
    """Chips in their order. One that is dropped can be had back, in turn with the text's own undoing.

    ``depth`` is how many steps of the text can be undone: a chip comes back when the steps made after its drop are
    undone.
    """

    def __init__(self, attachments: Sequence[Attachment] = ()) -> None:
        self.chips: tuple[Chip, ...] = tuple(Chip.of(attachment) for attachment in attachments)
        self.marked: int | None = None
        self._dropped: list[_Dropped] = []

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """What goes out."""
        return tuple(chip.attachment for chip in self.chips)

    def add(self, attachment: Attachment) -> None:
        """At the end; in the place of one with the same name."""
        chip = Chip.of(attachment)
        names = [known.attachment.name for known in self.chips]
        if attachment.name in names:
            at = names.index(attachment.name)
            self.chips = (*self.chips[:at], chip, *self.chips[at + 1 :])
        else:
            self.chips = (*self.chips, chip)
        self.marked = None

    def backspace(self, depth: int) -> bool:
        """The first time mark the last chip, the second time drop it; ``False`` without a chip."""
        if not self.chips:
            return False
        if self.marked is None:
            self.marked = len(self.chips) - 1
        else:
            self.drop(self.marked, depth)
        return True

    def drop(self, index: int, depth: int) -> None:
        """Take a chip away."""
        if 0 <= index < len(self.chips):
            self._dropped.append(_Dropped(self.chips[index], index, depth))
            self.chips = (*self.chips[:index], *self.chips[index + 1 :])
        self.marked = None

    def undo(self, depth: int) -> bool:
        """Get the last chip back, unless the text has younger steps to undo."""
        if not self._dropped or depth > self._dropped[-1].depth:
            return False
        back = self._dropped.pop()
        self.chips = (*self.chips[: back.index], back.chip, *self.chips[back.index :])
        self.marked = None
        return True

    def count(self, tokens: Sequence[int | None]) -> None:
        """How many tokens each has, in their order; further ones are unknown."""
        self.chips = tuple(
            chip.with_tokens(tokens[index] if index < len(tokens) else None) for index, chip in enumerate(self.chips)
        )
