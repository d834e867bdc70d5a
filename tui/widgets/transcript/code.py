"""Code, highlighted with the theme's colours."""

from __future__ import annotations

from functools import lru_cache

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Keyword, Literal, Name, Number, Operator, String, _TokenType
from pygments.util import ClassNotFound
from rich.style import Style
from rich.text import Text

from tui.widgets.transcript.styles import Styles

# Highlighting costs about 10 µs a character; beyond these, code shows in one colour.
MAX_OPEN_CHARACTERS = 4_000
MAX_CLOSED_CHARACTERS = 60_000


def highlight(code: str, language: str, styles: Styles, *, is_open: bool = False) -> Text:
    """The code as one text, with a style for each token.

    Args:
        code: What stands between the fences.
        language: The first word after the opening fence; an unknown one is no error.
        styles: The transcript's colours.
        is_open: Whether more of this block will come, so that the work will be done again.
    """
    lexer = _lexer(language)
    if lexer is None or len(code) > (MAX_OPEN_CHARACTERS if is_open else MAX_CLOSED_CHARACTERS):
        return Text(code, styles.code)
    text = Text(style=styles.code)
    for token, value in lexer.get_tokens(code):
        text.append(value, _style(token, styles))
    # A lexer may change line ends; what is shown must be what is there.
    return text if text.plain == code else Text(code, styles.code)


@lru_cache(maxsize=32)
def _lexer(language: str) -> Lexer | None:
    if not language:
        return None
    try:
        return get_lexer_by_name(language.lower(), stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


def _style(token: _TokenType, styles: Styles) -> Style | None:
    for kind, name in _KINDS:
        if token in kind:
            style: Style | None = getattr(styles, name) if name else None
            return style
    return None


_KINDS: tuple[tuple[_TokenType, str], ...] = (
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
