"""An answer, which may still grow: what is settled of it is rendered once, the rest at each frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

from tui.sanitize import SafeText, original, without_controls
from tui.widgets.transcript.base import Entry, Look, Passage, estimate_lines, title, with_margin
from tui.widgets.transcript.code import code_of
from tui.widgets.transcript.flow import flow
from tui.widgets.transcript.growing import Growing, growing_for
from tui.widgets.transcript.line import Line
from tui.widgets.transcript.render import BlockRenderer
from tui.widgets.transcript.stream import Block, MarkdownStream

# So much is parsed and laid out in a few milliseconds.
SLICE_CHARACTERS = 4_000


class AnswerEntry(Entry):
    """What a model answered, in Markdown."""

    def __init__(self, name: SafeText, *, key: int | None = None) -> None:
        super().__init__(key)
        self.name = name
        self._stream = MarkdownStream()
        self._text = ""
        self._parsed = 0
        self._footer: tuple[SafeText, str] | None = None
        self._is_open = True
        self._forget_layout()

    def _forget_layout(self) -> None:
        self._lines = []
        self._made_for: tuple[Look, int] | None = None
        self._closed_blocks = 0
        self._closed_lines = 0
        self._passages: list[Passage] = []
        self._growing: Growing | None = None
        self._serial: tuple[object, ...] = ()

    # -- content ---------------------------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """The whole answer in Markdown, but for control characters."""
        return without_controls(self._text)

    @property
    def unpainted(self) -> int:
        """The characters that no rendering has parsed yet."""
        return len(self._text) - self._parsed

    @property
    def may_have_code(self) -> bool:
        """Whether there may be code; cheap."""
        return any(mark in self._text for mark in ("```", "~~~", "    ", "\t"))

    def set_text(self, text: str) -> None:
        """The whole raw text so far, which begins with what was given before."""
        # Parsed when it is rendered: a long conversation is opened without parsing what is out of view.
        if len(text) > len(self._text):
            self._text = text
            self.invalidate()

    @property
    def is_open(self) -> bool:
        """Whether more text may come."""
        return self._is_open

    def set_name(self, name: SafeText) -> None:
        """Who answers; known for sure only at the end."""
        if name != self.name:
            self.name = name
            self.restyle()

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

    def restyle(self) -> None:
        """Lay everything out again."""
        self._look = None
        self._forget_layout()

    def forget(self) -> None:
        """Give the memory back: of a finished answer, all but its text."""
        if not self._is_open:
            self.restyle()
            self._stream, self._parsed = MarkdownStream(), 0

    # -- lines -----------------------------------------------------------------------------------------------------

    def estimate(self, look: Look) -> int:
        return estimate_lines(self._text, look.text_width) + 4

    def passages(self, look: Look) -> Sequence[Passage]:
        """The blocks so far."""
        self.lines(look)
        closed = self._closed_blocks
        growing = zip(self._passages[closed:], self._stream.open, strict=True)
        return [
            *self._passages[:closed],
            *(replace(one, text=self._text_of(block)) for one, block in growing),
        ]

    def written(self, first: int, last: int) -> str | None:
        """The Markdown of some blocks, and what is between them."""
        blocks = [*self._stream.closed, *self._stream.open]
        return self._stream.written(blocks[first], blocks[last])

    def _text_of(self, block: Block) -> str:
        """What is copied of a block: of code, what is between its fences."""
        is_code = _KINDS.get(block.tokens[0].type) == "code"
        return original(block.tokens[0].content if is_code else self._stream.written(block, block))

    def prepare(self, look: Look, deadline: float) -> bool:
        """Render a long answer a slice at a time."""
        while not self.is_rendered(look) and len(self._text) - self._parsed > SLICE_CHARACTERS:
            end = self._text.find("\n", self._parsed + SLICE_CHARACTERS) + 1 or len(self._text)
            self._stream.append(self._text[self._parsed : end])
            self._parsed = end
            self._lay_out(look)
            if perf_counter() > deadline:
                return False
        return super().prepare(look, deadline)

    def _render(self, look: Look) -> None:
        self._parse()
        self._lay_out(look)

    def _lay_out(self, look: Look) -> None:
        styles = look.styles
        if self._made_for != (look, self._stream.generation):
            self._forget_layout()
            self._made_for = (look, self._stream.generation)
            self._lines = [title(self.name, look, self.key, self.branch)]
            self._closed_lines = 1
        renderer = BlockRenderer(styles, look.text_width, look.full_width)
        lines, stream = self._lines, self._stream
        changed = self._closed_lines
        del lines[self._closed_lines :], self._passages[self._closed_blocks :]
        for index, block in enumerate([*stream.closed[self._closed_blocks :], *stream.open]):
            is_closed = self._closed_blocks < len(stream.closed)
            kept = self._add(block, renderer, is_closed=is_closed)
            if index == 0:
                changed += kept
            if is_closed:
                self._closed_blocks += 1
                self._closed_lines = len(lines)
                self._growing = None
        if self._footer is not None and self._footer[0]:
            footer = flow([(self._footer[0], getattr(styles, self._footer[1]))], look.text_width)
            for line in footer:
                line.is_ornament = True
            lines += with_margin([Line([], "", is_ornament=True), *footer], styles)
        lines.append(Line([], ""))
        self.changed_from = changed

    def _add(self, block: Block, renderer: BlockRenderer, *, is_closed: bool) -> int:
        """Lay out a block after the others; returns how many lines at its beginning are as they were."""
        lines = self._lines
        # The first gap belongs to the name above it.
        lines.append(Line([], "", is_ornament=len(lines) == 1))
        serial: tuple[int | str, ...] = (*block.serial, block.tokens[0].type) if block.serial else ()
        growing = self._growing if serial and serial == self._serial else None
        if growing is None:
            growing = growing_for(block, renderer)
            # Only one block grows at a time: the first one that is open.
            if serial:
                self._growing, self._serial = growing, serial
        kept = growing.update(block)
        with_margin(growing.lines[kept:], renderer.styles)
        first = len(lines)
        lines += growing.lines
        # The text of what still grows is made when it is asked for.
        text = self._text_of(block) if is_closed else ""
        self._passages.append(_passage(block, first, len(lines), text))
        return kept + 1

    def _parse(self) -> None:
        text, self._parsed = self._text[self._parsed :], len(self._text)
        if not self._is_open:
            self._stream.finish(text)
        elif text:
            self._stream.append(text)


_KINDS = {
    "heading_open": "heading",
    "fence": "code",
    "code_block": "code",
    "bullet_list_open": "list",
    "ordered_list_open": "list",
    "blockquote_open": "quote",
    "table_open": "table",
    "hr": "rule",
}


def _passage(block: Block, first: int, end: int, text: str) -> Passage:
    token = block.tokens[0]
    kind = _KINDS.get(token.type, "text")
    return Passage(first, end, kind, text, code_of(token).language if kind == "code" else "")
