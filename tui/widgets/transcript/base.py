"""What all entries of a transcript have in common: lines that are made when they are needed, and blocks in them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from tui.sanitize import SafeText, original
from tui.widgets.transcript.code import Code
from tui.widgets.transcript.line import Line
from tui.widgets.transcript.styles import Styles

MARGIN = 2
# Longer lines of prose are hard to read, however wide the terminal is.
MAX_TEXT_WIDTH = 100


@dataclass(frozen=True)
class Look:
    """What rendering depends on besides the text; a new one makes every cached line void."""

    width: int
    styles: Styles

    @cached_property
    def text_width(self) -> int:
        """Cells for text between the margins."""
        return min(self.full_width, MAX_TEXT_WIDTH)

    @cached_property
    def full_width(self) -> int:
        """Cells between the margins, for code and tables."""
        return max(8, self.width - 2 * MARGIN)


@dataclass(frozen=True, slots=True)
class Passage:
    """A block of an entry: where it is in the entry's lines, and what was written.

    Attributes:
        first: Its first line.
        end: The line after its last one.
        kind: What it is: ``text``, ``heading``, ``code``, ``list``, ``quote``, ``table`` or ``rule``.
        text: The original, but for control characters.
        language: Of code, the word after the fence.
    """

    first: int
    end: int
    kind: str
    text: str
    language: str = ""


class Entry(ABC):
    """One entry. Its lines are made when they are first needed and kept until :meth:`forget`.

    Attributes:
        key: The message's id, if it is one.
        changed_from: The first line that the last rendering made anew.
        revision: Counts the renderings.
    """

    def __init__(self, key: int | None = None) -> None:
        self.key = key
        self.changed_from = 0
        self.revision = 0
        self.branch: tuple[int, int] | None = None
        self._look: Look | None = None
        self._lines: list[Line] = []

    @property
    @abstractmethod
    def text(self) -> str:
        """The original, but for control characters."""

    @property
    def unpainted(self) -> int:
        """About how many characters have come since the last rendering."""
        return 0

    @property
    def is_message(self) -> bool:
        """Whether somebody said this, so that the cursor stops here."""
        return True

    @property
    def may_have_code(self) -> bool:
        """Whether rendering may show code; cheap."""
        return False

    def set_branch(self, position: int, count: int) -> None:
        """Show that this is the ``position``-th of ``count`` variants, counted from 1; nothing is shown for one."""
        branch = (position, count) if count > 1 else None
        if branch != self.branch:
            self.branch = branch
            self.restyle()

    def lines(self, look: Look) -> list[Line]:
        """The lines of this entry, a blank one at the end. The list is the entry's own: it changes with the entry."""
        if self._look is not look:
            self._render(look)
            self._look = look
            self.revision += 1
        return self._lines

    def is_rendered(self, look: Look) -> bool:
        """Whether :meth:`lines` costs nothing."""
        return self._look is look

    def prepare(self, look: Look, deadline: float) -> bool:
        """Render a part, until about ``deadline`` (of :func:`time.perf_counter`); says whether all is rendered."""
        self.lines(look)
        return True

    def invalidate(self) -> None:
        """The content has changed at its end."""
        self._look = None

    def restyle(self) -> None:
        """What is shown has changed from the beginning on."""
        self.forget()

    def forget(self) -> None:
        """Give the memory back; what is needed again is made again."""
        self._look = None
        self._lines = []

    def passages(self, look: Look) -> Sequence[Passage]:
        """The blocks of this entry, from top to bottom."""
        lines = self.lines(look)
        inked = [i for i, line in enumerate(lines) if line.text and not line.is_ornament]
        return [Passage(inked[0], inked[-1] + 1, "text", self.text)] if inked else []

    def written(self, first: int, last: int) -> str | None:
        """How passages were written, from one to another, as inert text; ``None`` where that is what is shown."""
        return None

    def codes(self, look: Look) -> list[Passage]:
        """The code blocks of this entry, wherever they are nested."""
        found: list[Passage] = []
        lines = self.lines(look)
        current: Code | None = None
        first = 0
        for index, line in enumerate([*lines, None]):
            code = line.colours if line is not None and isinstance(line.colours, Code) else None
            if code is current:
                continue
            if current is not None:
                # With the label above and the padding below.
                found.append(Passage(first - 1, index + 1, "code", original(current.text), current.language))
            current, first = code, index
        return found

    @abstractmethod
    def estimate(self, look: Look) -> int:
        """About how many lines there will be, cheaply."""

    @abstractmethod
    def _render(self, look: Look) -> None:
        """Bring ``_lines`` and ``changed_from`` up to date."""


def with_margin(lines: Iterable[Line], styles: Styles) -> list[Line]:
    """Lines with the transcript's left margin."""
    lines = list(lines)
    for line in lines:
        line.decorate(" " * MARGIN, styles.base)
    return lines


def title(name: SafeText, look: Look, key: int | None, branch: tuple[int, int] | None) -> Line:
    """The line that says who speaks, and which variant of the message this is: ``‹ 2/3 ›``, for the mouse."""
    styles = look.styles
    line = Line.of(name, styles.name, is_ornament=True)
    if branch is not None:
        position, count = branch
        line.content += [
            ("  ", styles.base),
            ("‹ ", styles.switch(-1, key) if position > 1 else styles.muted),
            (f"{position}/{count}", styles.muted),
            (" ›", styles.switch(1, key) if position < count else styles.muted),
        ]
        line.text = "".join(text for text, _ in line.content)
    return with_margin([line], styles)[0]


def estimate_lines(text: str, width: int) -> int:
    """How many lines plain text would take; Markdown takes about as many."""
    return text.count("\n") + 1 + len(text) // max(1, width)
