"""What is settled inside of a block that still grows: items of a list, rows of a table, lines of a fence."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from markdown_it.token import Token

from tui.widgets.transcript.code import Code, code_of
from tui.widgets.transcript.tree import Span, children, inside

# A line that begins so stays a line of a paragraph, whatever comes after on it: it can become no mark of a list, no
# heading, no fence, no rule and no part of a table.
_SURE = re.compile(
    r" {0,3}(?:[^\W\d_]|\d{1,9}[^\d.)\s]|`{1,2}[^`\s]|\*{1,2}[^\s*]|_{1,2}[^\s_]"
    r"|[\"'(“”‘’—–…\u2e80-\ud7ff\U0001f300-\U0001faff])"
)


def is_sure_paragraph_line(line: str) -> bool:
    """Whether a line that continues a paragraph does so whatever follows on it."""
    return _SURE.match(line) is not None


@dataclass(slots=True)
class OpenChildren:
    """The settled items of an open list, or the settled rows of an open table.

    The rest is parsed by itself: a list from its last item on, a table from its last row on, after its header.

    Attributes:
        head: What must stand before the rest for it to be parsed: a table's first two lines.
    """

    kind: str
    markup: str
    opening: list[Token]
    head: str = ""
    tokens: list[Token] = field(default_factory=list)

    @classmethod
    def of(cls, tokens: list[Token]) -> OpenChildren | None:
        """Of a block that has settled nothing yet; ``None`` if it is of another kind."""
        match tokens[0].type:
            case "bullet_list_open" | "ordered_list_open":
                return cls(tokens[0].type, tokens[0].markup, tokens[:1])
            case "table_open":
                return cls("table_open", "", [])
            case _:
                return None

    @property
    def settled(self) -> int:
        """How many tokens of the whole block will stay."""
        return len(self.opening) + len(self.tokens) if self.tokens else 0

    def goes_on(self, tokens: list[Token]) -> bool:
        """Whether what was parsed of the rest is of the same block."""
        return bool(tokens) and tokens[0].type == self.kind and tokens[0].markup == self.markup

    def whole(self, rest: list[Token]) -> tuple[list[Token], int]:
        """All tokens of the block, and how many of them are settled."""
        if self.kind != "table_open":
            return [*self.opening, *self.tokens, *rest[1:]], self.settled
        body = _body(rest)
        closing = rest[body[1] - 1 :] if body else _closing(rest)
        return [*self.opening, *self.tokens, *(rest[slice(*inside(body))] if body else []), *closing], self.settled

    def settle(self, rest: list[Token], lines: int, source: str) -> int:
        """Settle what is complete of the rest, of whose lines ``lines`` are complete.

        Args:
            rest: The tokens of the rest.
            lines: The number of newlines in what was parsed.
            source: What was parsed, when nothing is settled yet.

        Returns:
            The line from which on it is the rest; 0 if nothing was settled.
        """
        return self._settle_rows(rest, lines, source) if self.kind == "table_open" else self._settle_items(rest, lines)

    def _settle_items(self, rest: list[Token], lines: int) -> int:
        items = list(children(rest, 1, len(rest) - 1))
        last = next((i for i in range(len(items) - 1, 0, -1) if _first_line(rest, items[i]) < lines), 0)
        if not last:
            return 0
        self.tokens += rest[1 : items[last][0]]
        return _first_line(rest, items[last])

    def _settle_rows(self, rest: list[Token], lines: int, source: str) -> int:
        body = _body(rest)
        if body is None:
            return 0
        end = body[0] + 1
        line = 0
        for row in children(rest, *inside(body)):
            if _first_line(rest, row) >= lines:
                break
            end, line = row[1], _first_line(rest, row) + 1
        if not line:
            return 0
        if not self.opening:
            self.opening = rest[: body[0] + 1]
            first = rest[0].map[0] if rest[0].map else 0
            # Blank lines before the table belong to the head too: the lines' numbers stay what they are.
            self.head = "\n" * first + "".join(source.splitlines(keepends=True)[first : first + 2])
        self.tokens += rest[body[0] + 1 : end]
        return line


def _first_line(tokens: list[Token], span: Span) -> int:
    lines = tokens[span[0]].map
    return lines[0] if lines else 0


def _body(table: list[Token]) -> Span | None:
    parts = list(children(table, 1, len(table) - 1))
    return parts[1] if len(parts) > 1 else None


def _closing(table: list[Token]) -> list[Token]:
    return [Token("tbody_close", "tbody", -1, level=1, block=True), table[-1]]


@dataclass(slots=True)
class OpenFence:
    """A fence at the left edge whose end has not come, or has only just.

    Attributes:
        is_ended: Whether its closing line may be there; what follows says whether it is.
    """

    opening: Token
    begin: int
    marker: str
    code: Code
    is_ended: bool = False
    _content: str = ""

    @classmethod
    def of(cls, token: Token, source: str, tail_at: int, before: OpenFence | None) -> OpenFence | None:
        """The fence that begins in ``source`` after ``tail_at``, if it is not indented.

        Args:
            token: What it was parsed to.
            source: The whole text.
            tail_at: Where what was parsed begins.
            before: The same fence, earlier, whose laid-out rows and colours are taken over.
        """
        first, end = token.map or (0, 0)
        if before is not None:
            token.meta["code"] = before.code
            before.code.grow(token.content)
        rows = token.content.count("\n") + (not token.content.endswith("\n") and bool(token.content))
        begin = tail_at
        for _ in range(first):
            begin = source.index("\n", begin) + 1
        newline = source.find("\n", begin)
        if newline < 0 or not source.startswith(token.markup, begin):
            return None
        fence = cls(token, newline + 1, token.markup, code_of(token))
        fence.code.is_open = True
        fence.is_ended = end - first != rows + 1 or not fence.grow(source, newline + 1)
        return fence

    def grow(self, source: str, at: int) -> bool:
        """Take what was added after ``at``; says no when the fence may have ended."""
        if self.is_ended:
            return False
        line_at = max(self.begin, source.rfind("\n", 0, at) + 1)
        added = source[line_at:]
        if self.marker in added and self._ends(added):
            self.is_ended = True
            return False
        content = source[self.begin :]
        # A last line of blanks only is none yet.
        last = content.rfind("\n") + 1
        self._content = content[:last] if not content[last:].strip(" \t") else content
        return True

    def _ends(self, text: str) -> bool:
        pattern = rf"^ {{0,3}}{re.escape(self.marker[0])}{{{len(self.marker)},}}[ \t]*$"
        return re.search(pattern, text, re.MULTILINE) is not None

    def token(self) -> Token:
        """The fence so far."""
        self.code.grow(self._content)
        return self.opening.copy(content=self._content, meta={"code": self.code})

    def closed(self, token: Token) -> Token:
        """The whole fence, with the colours that were found so far."""
        self.code.grow(token.content)
        self.code.close()
        return token.copy(meta={"code": self.code})
