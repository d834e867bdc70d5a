"""Code as rows of text whose colours come later, so that no frame waits for a lexer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from time import perf_counter
from typing import TYPE_CHECKING

from rich.cells import cell_len, split_graphemes

from tui.sanitize import safe_line
from tui.widgets.transcript.line import Line, Run, Tabs, expand
from tui.widgets.transcript.styles import Styles

if TYPE_CHECKING:
    # No code is in view at the start, and Pygments and the Markdown parser take a tenth of the time to the first paint.
    from markdown_it.token import Token
    from pygments.lexer import Lexer
    from pygments.token import _TokenType

# While code grows, its new rows are coloured with what stands before them as far back as this, in characters: a lexer
# needs about 2 µs for each. When it is whole, it is coloured exactly.
OPEN_WINDOW = 800
MAX_CHARACTERS = 200_000
TOKENS_BETWEEN_LOOKS = 40

Kinds = tuple[tuple[int, str], ...]


class Code:
    """What stands between two fences; it may grow.

    Attributes:
        text: As it was written, tabs and all.
        language: The first word after the opening fence; an unknown one is no error.
        is_open: Whether more may come.
    """

    def __init__(self, language: str) -> None:
        self.text = ""
        self.language = language
        self.is_open = True
        self.is_exact = False
        # As they are shown, and where their tabs were.
        self.rows: list[str] = []
        self.tabs: list[Tabs | None] = []
        self._last_at = 0
        self._kinds: list[Kinds | None] = []
        self._lexed = 0
        self._lexing: Iterator[tuple[_TokenType, str]] | None = None
        self._exact: list[list[tuple[int, str]]] = []

    def grow(self, text: str) -> None:
        """The whole text so far, which begins with what was given before, but for the last row."""
        self.text = text
        shown = text.removesuffix("\n")
        if len(shown) < self._last_at:
            # What looked like a row was the beginning of the closing fence.
            self.rows, self.tabs, self._last_at = [], [], 0
        del self.rows[len(self.rows) - 1 :], self.tabs[len(self.tabs) - 1 :]
        new = shown[self._last_at :].split("\n")
        for raw in new:
            row, tabs = expand(raw)
            self.rows.append(row)
            self.tabs.append(tabs)
        self._last_at = len(shown) - len(new[-1])

    def close(self) -> None:
        """Nothing will come any more."""
        self.is_open = False

    # -- colours ---------------------------------------------------------------------------------------------------

    @property
    def wants_colours(self) -> bool:
        """Whether there is something to colour yet."""
        if not self.language or self.is_exact:
            return False
        return self._lexed < len(self.rows) - 1 if self.is_open else True

    @property
    def has_guessed_colours(self) -> bool:
        """Whether rows were coloured while it grew, by what stood shortly before them."""
        return self._lexed > 0 and not self.is_exact

    def work(self, deadline: float) -> bool:
        """Colour until ``deadline``, in seconds of :func:`time.perf_counter`; say whether it is done."""
        if self.is_open:
            self._colour_window()
            return True
        if self._lexing is None:
            lexer = _lexer(self.language)
            if lexer is None or len(self.text) > MAX_CHARACTERS:
                self.is_exact = True
                return True
            self._lexing, self._exact = lexer.get_tokens("\n".join(self.rows)), [[]]
        while True:
            for _ in range(TOKENS_BETWEEN_LOOKS):
                token = next(self._lexing, None)
                if token is None:
                    self._take_exact()
                    return True
                _add(self._exact, token)
            if perf_counter() > deadline:
                return False

    def _take_exact(self) -> None:
        self._lexing, self.is_exact = None, True
        # A lexer may change line ends; what is shown must be what is there.
        if _fits(self._exact, self.rows):
            self._kinds = [tuple(row) for row in self._exact]
        self._exact = []

    def _colour_window(self) -> None:
        """Colour the rows that are complete; what is wrong about them for now, :meth:`work` will put right."""
        last = len(self.rows) - 1
        lexer = _lexer(self.language)
        if lexer is None or self._lexed >= last:
            self._lexed = last
            return
        # Many rows at once are an answer that was opened, or a burst: the last ones are what is in view.
        first, room = last, OPEN_WINDOW
        while first > 0 and room > 0:
            first -= 1
            room -= len(self.rows[first]) + 1
        rows = self.rows[first:last]
        found: list[list[tuple[int, str]]] = [[]]
        for token in lexer.get_tokens("\n".join(rows)):
            _add(found, token)
        if _fits(found, rows):
            self._kinds += [None] * (max(self._lexed, first) - len(self._kinds))
            self._kinds[max(self._lexed, first) :] = [tuple(row) for row in found[max(0, self._lexed - first) :]]
        self._lexed = last

    def version(self, row: int) -> Kinds | None:
        """The kinds of its tokens, once they are known."""
        return self._kinds[row] if row < len(self._kinds) else None

    def runs(self, row: int, begin: int, end: int, styles: Styles) -> list[Run]:
        """Some characters of a row, with their styles."""
        text = self.rows[row]
        kinds = self.version(row)
        if kinds is None:
            return [(text[begin:end], styles.code)] if end > begin else []
        runs: list[Run] = []
        at = 0
        for length, kind in kinds:
            piece = text[max(at, begin) : min(at + length, end)] if at < end and at + length > begin else ""
            at += length
            if piece:
                runs.append((piece, styles.of_code[kind]))
        return runs


def code_of(token: Token) -> Code:
    """A token's code, with the colours that were found for it once."""
    code: Code | None = token.meta.get("code")
    if code is None:
        words = safe_line(token.info).split(maxsplit=1)
        code = Code(words[0] if words else "")
        token.meta["code"] = code
        code.grow(token.content)
        code.close()
    return code


def code_lines(code: Code, rows: Iterable[int], width: int, styles: Styles) -> list[Line]:
    """Some rows as lines, folded anywhere: a word wrap would eat spaces that mean something."""
    lines: list[Line] = []
    for row in rows:
        text = code.rows[row]
        for begin, end in _folds(text, width - 2):
            shown = text[begin:end]
            line = Line([], shown, join="", tabs=code.tabs[row], offset=begin, colours=code, row=row)
            pad(line, shown, width, styles)
            lines.append(line)
        lines[-1].join = "\n"
    return lines


def pad(line: Line, shown: str, width: int, styles: Styles) -> None:
    """The frame of code: a cell before the text, and colour up to the width."""
    line.before = [(" ", styles.code)]
    line.fill = (" " * max(0, width - 1 - cell_len(shown)), styles.code)


def _folds(text: str, width: int) -> Iterator[tuple[int, int]]:
    if cell_len(text) <= width:
        yield 0, len(text)
        return
    begin, used = 0, 0
    for start, _end, cells in split_graphemes(text)[0]:
        if used + cells > width and start > begin:
            yield begin, start
            begin, used = start, 0
        used += cells
    yield begin, len(text)


def _add(rows: list[list[tuple[int, str]]], token: tuple[_TokenType, str]) -> None:
    kind = _kind(token[0])
    first, *others = token[1].split("\n")
    rows[-1].append((len(first), kind))
    rows.extend([(len(piece), kind)] for piece in others)


def _fits(found: list[list[tuple[int, str]]], rows: list[str]) -> bool:
    return len(found) == len(rows) and all(
        sum(length for length, _ in kinds) == len(row) for kinds, row in zip(found, rows, strict=True)
    )


def is_loaded(language: str) -> bool:
    """Whether a language can be coloured without importing its lexer first, which takes some milliseconds."""
    return language in _LOADED


_LOADED: set[str] = set()


@lru_cache(maxsize=64)
def _lexer(language: str) -> Lexer | None:
    _LOADED.add(language)
    if not language:
        return None
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        return get_lexer_by_name(language.lower(), stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


@cache
def _kind(token: _TokenType) -> str:
    return next((name for kind, name in _kinds() if token in kind), "")


@cache
def _kinds() -> tuple[tuple[_TokenType, str], ...]:
    from pygments.token import Comment, Keyword, Literal, Name, Number, Operator, String

    return (
        (Comment, "comment"),
        (Keyword, "keyword"),
        (Operator.Word, "keyword"),
        (String, "string"),
        (Number, "number"),
        (Literal, "number"),
        (Name.Function, "function"),
        (Name.Class, "function"),
        (Name.Decorator, "function"),
        (Name.Tag, "keyword"),
        (Name.Attribute, "function"),
        (Name.Builtin, "function"),
    )
