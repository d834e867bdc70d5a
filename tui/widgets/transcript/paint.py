"""Lines to strips for the screen: colours of code when they are there, and what is painted over the text."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from tui.widgets.transcript.code import Code, is_loaded
from tui.widgets.transcript.document import Document
from tui.widgets.transcript.line import Line

# Code of so few characters is coloured when it is first painted, up to so much time in so much time.
SMALL_CODE = 1_500
PAINT_SECONDS = 0.004
PAINT_EVERY_SECONDS = 0.016


@dataclass(frozen=True, slots=True)
class Overlays:
    """What is painted over a line.

    Attributes:
        selected: The selected characters of what is shown, to its end if that is -1.
        is_marked: Whether the cursor is on this line.
        hits: Found characters of the text, and whether they are of the current hit.
    """

    selected: tuple[int, int] | None = None
    is_marked: bool = False
    hits: tuple[tuple[int, int, bool], ...] = ()


class Painter:
    """Makes strips of a document's lines."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._blank: tuple[object, Strip] | None = None

    def paint(self, line: Line | None, y: int, overlays: Overlays) -> Strip:
        """The strip of line ``y``, as wide as the view, with what a selection needs to know."""
        look = self._document.look
        assert look is not None
        if line is None:
            if self._blank is None or self._blank[0] is not look:
                self._blank = look, Strip([Segment(" " * look.width, look.styles.base)], look.width)
            return self._blank[1]
        strip = line.strip(look.styles, look.width)
        if overlays.is_marked or overlays.hits or overlays.selected is not None:
            strip = self._overlaid(strip, line, overlays)
        return strip.apply_offsets(0, y)

    def _overlaid(self, strip: Strip, line: Line, overlays: Overlays) -> Strip:
        look = self._document.look
        assert look is not None
        styles, start = look.styles, line.start
        if overlays.is_marked and strip.text.startswith(" "):
            strip = Strip([Segment("▌", styles.base + styles.mark), *strip.crop(1)])
        for begin, end, is_current in overlays.hits:
            strip = _restyled(strip, start + begin, start + end, styles.found_current if is_current else styles.found)
        if overlays.selected is not None and not line.is_ornament:
            begin, end = overlays.selected
            last = start + len(line.text)
            strip = _restyled(strip, max(begin, start), last if end == -1 else min(end, last), styles.selection)
        return strip


def _restyled(strip: Strip, begin: int, end: int, style: Style) -> Strip:
    """A strip with a style over its characters from ``begin`` to ``end``."""
    segments: list[Segment] = []
    at = 0
    for text, under, _ in strip:
        left, right = min(max(begin - at, 0), len(text)), min(max(end - at, 0), len(text))
        at += len(text)
        if left >= right:
            segments.append(Segment(text, under))
            continue
        for piece, over in ((text[:left], None), (text[left:right], style), (text[right:], None)):
            if piece:
                segments.append(Segment(piece, under + over if under is not None and over is not None else under))
    return Strip(segments, strip.cell_length)


class Highlighter:
    """Finds the colours of code that is in view, a slice at a time."""

    def __init__(self) -> None:
        self._queue: list[Code] = []
        self._window = 0.0
        self._spent = 0.0
        self._is_recoloured = False

    @property
    def is_busy(self) -> bool:
        """Whether there is code to colour yet, or to paint in other colours."""
        return bool(self._queue) or self._is_recoloured

    def wants(self, line: Line) -> bool:
        """Take up what a line that is painted now shows; says whether it comes later."""
        code = line.colours
        if not isinstance(code, Code) or not code.wants_colours:
            return False
        was_guessed = code.has_guessed_colours
        if (code.is_open or len(code.text) <= SMALL_CODE) and is_loaded(code.language) and self._at_once(code):
            # Rows above may have other colours now that all of it is there, and are not painted in this frame.
            self._is_recoloured |= was_guessed and not code.is_open
            return self._is_recoloured
        if code not in self._queue:
            self._queue.append(code)
        return True

    def _at_once(self, code: Code) -> bool:
        now = perf_counter()
        if now - self._window > PAINT_EVERY_SECONDS:
            self._window, self._spent = now, 0.0
        if self._spent >= PAINT_SECONDS:
            return False
        is_done = code.work(now + PAINT_SECONDS)
        self._spent += perf_counter() - now
        return is_done

    def work(self, deadline: float) -> bool:
        """Go on until ``deadline``; says whether something has its colours now."""
        changed, self._is_recoloured = self._is_recoloured, False
        while self._queue and perf_counter() < deadline:
            if not self._queue[0].work(deadline):
                break
            self._queue.pop(0)
            changed = True
        return changed
