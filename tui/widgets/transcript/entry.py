"""What a transcript lists: a person's message, an answer, a note. Each renders itself to strips, once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

from rich.style import Style
from rich.text import Text
from textual.strip import Strip

from tui.sanitize import SafeText, safe, safe_cells
from tui.widgets.transcript.render import BlockRenderer, console, wrap
from tui.widgets.transcript.stream import MarkdownStream
from tui.widgets.transcript.styles import Styles

MARGIN = 2
# Longer lines are hard to read, however wide the terminal is.
MAX_TEXT_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Look:
    """What rendering depends on besides the text; a new one makes every cached strip void."""

    width: int
    styles: Styles

    @property
    def text_width(self) -> int:
        """Cells for text between the margins."""
        return max(8, min(self.width - 2 * MARGIN, MAX_TEXT_WIDTH))


class Entry(ABC):
    """One entry. Its strips are made when they are first needed and kept."""

    def __init__(self) -> None:
        self._look: Look | None = None
        self._strips: list[Strip] = []

    def is_rendered(self, look: Look) -> bool:
        """Whether :meth:`strips` costs nothing."""
        return self._look is look

    def strips(self, look: Look) -> list[Strip]:
        """The lines of this entry, a blank one at the end."""
        if self._look is not look:
            self._strips = self._render(look)
            self._look = look
        return self._strips

    def invalidate(self) -> None:
        """The content has changed."""
        self._look = None

    def forget(self) -> None:
        """Give the memory back; what is needed again is made again."""
        self._look = None
        self._strips = []

    @abstractmethod
    def estimate(self, look: Look) -> int:
        """About how many lines there will be, cheaply."""

    @abstractmethod
    def _render(self, look: Look) -> list[Strip]: ...


class PersonEntry(Entry):
    """What a person typed: shown as it was typed, for it is no Markdown until they say so."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = safe(text)

    def estimate(self, look: Look) -> int:
        return estimate_lines(self.text, look.text_width - 2) + 3

    def _render(self, look: Look) -> list[Strip]:
        styles = look.styles
        lines = [Text(), *wrap(Text(self.text), look.text_width - 3), Text()]
        framed = []
        for line in lines:
            text = Text.assemble(" " * (MARGIN - 1), ("▌", styles.person_bar), ("  ", styles.person))
            line.pad_right(look.text_width - 2 - line.cell_len)
            line.stylize_before(styles.person)
            framed.append(text + line)
        return to_strips([*framed, Text()], styles.base)


class NoteEntry(Entry):
    """A remark of the program itself, such as the greeting of an empty conversation."""

    def __init__(self, lines: Iterable[tuple[SafeText, str]]) -> None:
        """``lines`` pair a text with the name of its style in :class:`Styles`."""
        super().__init__()
        self._lines = list(lines)

    def estimate(self, look: Look) -> int:
        return len(self._lines) + 1

    def _render(self, look: Look) -> list[Strip]:
        lines = []
        for text, style in self._lines:
            lines += [indent(line) for line in wrap(Text(text, getattr(look.styles, style)), look.text_width)]
        return to_strips([Text(), *lines, Text()], look.styles.base)


class AnswerEntry(Entry):
    """An answer, which may still grow: closed blocks are rendered once, the open one at each frame."""

    def __init__(self, name: SafeText) -> None:
        super().__init__()
        self.name = name
        self._stream = MarkdownStream()
        self._text = ""
        self._parsed = 0
        self._footer: tuple[SafeText, str] | None = None
        self._is_open = True
        self._closed_strips: list[Strip] = []
        self._closed_count = 0
        self._closed_key: tuple[Look, int] | None = None

    def set_text(self, text: str) -> None:
        """The whole raw text so far, which begins with what was given before."""
        # Parsed when it is rendered: a long conversation is opened without parsing what is out of view.
        if len(text) > len(self._text):
            self._text = text
            self.invalidate()

    def set_footer(self, text: SafeText, style: str = "muted") -> None:
        """A line under the answer: what is happening, statistics, an error."""
        if self._footer != (text, style):
            self._footer = (text, style)
            self.invalidate()

    def finish(self) -> None:
        """No more text will come."""
        if self._is_open:
            self._is_open = False
            self.invalidate()

    def forget(self) -> None:
        """Give the memory back: of a finished answer, all but its text."""
        if not self._is_open:
            super().forget()
            self._stream, self._parsed = MarkdownStream(), 0
            self._closed_strips, self._closed_key = [], None

    def estimate(self, look: Look) -> int:
        return estimate_lines(self._text, look.text_width) + 4

    def _render(self, look: Look) -> list[Strip]:
        self._parse()
        styles, width = look.styles, look.text_width
        renderer = BlockRenderer(styles)
        key = (look, self._stream.generation)
        if self._closed_key is None or self._closed_key[0] is not look or self._closed_key[1] != key[1]:
            self._closed_key, self._closed_count = key, 0
            self._closed_strips = to_strips([indent(Text(self.name, styles.name))], styles.base)
        for block in self._stream.closed[self._closed_count :]:
            self._closed_strips += _spaced(renderer.render(block.tokens, width), styles)
        self._closed_count = len(self._stream.closed)
        strips = list(self._closed_strips)
        for block in self._stream.open:
            strips += _spaced(renderer.render(block.tokens, width, is_open=True), styles)
        if self._footer is not None and self._footer[0]:
            footer = wrap(Text(self._footer[0], getattr(styles, self._footer[1])), width)
            strips += to_strips([Text(), *map(indent, footer)], styles.base)
        return strips + to_strips([Text()], styles.base)

    def _parse(self) -> None:
        text, self._parsed = self._text[self._parsed :], len(self._text)
        if not self._is_open:
            self._stream.finish(text)
        elif text:
            self._stream.append(text)


def _spaced(lines: list[Text], styles: Styles) -> list[Strip]:
    return to_strips([Text(), *map(indent, lines)], styles.base)


def indent(line: Text) -> Text:
    """A line with the transcript's left margin."""
    return Text(" " * MARGIN) + line


def to_strips(lines: Iterable[Text], base: Style) -> list[Strip]:
    """Laid-out lines as strips, after the last look for control characters."""
    strips = []
    for line in lines:
        plain = line.plain
        clean = safe_cells(plain)
        if clean is not plain:
            line.plain = clean
        line.end = ""
        strips.append(Strip(line.render(console())).apply_style(base))
    return strips


def estimate_lines(text: str, width: int) -> int:
    """How many lines plain text would take; Markdown takes about as many."""
    return sum(1 + len(line) // max(1, width) for line in text.split("\n"))
