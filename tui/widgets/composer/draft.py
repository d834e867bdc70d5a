"""The attachments of a draft: adding, marking, taking away. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from localqwen.chats.attachment import Attachment
from tui.widgets.chips import Chip


class Attached:
    """Chips in their order."""

    def __init__(self, attachments: Sequence[Attachment] = ()) -> None:
        self.chips: tuple[Chip, ...] = tuple(Chip.of(attachment) for attachment in attachments)
        self.marked: int | None = None
        self._gone: set[str] = set()

    @property
    def settled(self) -> set[str]:
        """Names that a person has decided about: those of chips, and of chips that they took away."""
        return self._gone | {chip.attachment.name for chip in self.chips}

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

    def backspace(self) -> bool:
        """The first time mark the last chip, the second time drop it; ``False`` without a chip."""
        if not self.chips:
            return False
        if self.marked is None:
            self.marked = len(self.chips) - 1
        else:
            self.drop(self.marked)
        return True

    def drop(self, index: int) -> None:
        """Take a chip away."""
        if 0 <= index < len(self.chips):
            self.put((*self.chips[:index], *self.chips[index + 1 :]))
        self.marked = None

    def put(self, chips: tuple[Chip, ...]) -> None:
        """Have others: so are steps undone and done again."""
        self._gone |= self.settled
        self.chips, self.marked = chips, None

    def count(self, tokens: Sequence[int | None]) -> None:
        """How many tokens each has, in their order; further ones are unknown."""
        self.chips = tuple(
            chip.with_tokens(tokens[index] if index < len(tokens) else None) for index, chip in enumerate(self.chips)
        )
