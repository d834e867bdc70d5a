"""The CSS of the app, parsed once for each theme.

A theme is a set of variables, and Textual parses all CSS anew for another one: a quarter of what is waited for after
the key. Here it can be parsed beforehand, a piece at a time, and is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from textual.cache import LRUCache
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet
from textual.css.tokenize import tokenize_values
from textual.css.tokenizer import Token

# Some hundred kilobytes each.
MOST_THEMES = 4
PIECES = 256

Tokens: TypeAlias = dict[str, list[Token]]
Parsed: TypeAlias = "LRUCache[tuple[object, ...], list[RuleSet]]"


class KeptStylesheet(Stylesheet):
    """Textual's, which remembers what its pieces mean in the last few themes."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        """``variables`` are the theme's."""
        super().__init__(variables=dict(variables))
        self._kept: LRUCache[tuple[tuple[str, str], ...], tuple[Tokens, Parsed]] = LRUCache(MOST_THEMES)
        self._tokens, self._parse_cache = self._known_of(variables)

    def _known_of(self, variables: Mapping[str, str]) -> tuple[Tokens, Parsed]:
        key = tuple(variables.items())
        known = self._kept.get(key)
        if known is None:
            known = self._kept[key] = tokenize_values(dict(variables)), LRUCache(PIECES)
        return known

    @property
    def _variable_tokens(self) -> Tokens:
        return self._tokens

    def set_variables(self, variables: dict[str, str]) -> None:
        """Another theme counts."""
        # The base class empties what it knows: that is the other theme's, and kept.
        self._parse_cache = LRUCache(1)
        super().set_variables(variables)
        self._tokens, self._parse_cache = self._known_of(variables)

    def reparse(self) -> None:
        """Apply the variables; the rules change only if all of the CSS can be parsed.

        Raises:
            StylesheetError: It cannot.
        """
        self.parse()

    def prepare(self, variables: Mapping[str, str]) -> Iterator[None]:
        """Parse for a theme that may come, a piece at each step, of some milliseconds at most."""
        other = KeptStylesheet({})
        other._tokens, other._parse_cache = self._known_of(variables)
        yield
        for read_from, (css, is_defaults, tie_breaker, scope) in list(self.source.items()):
            other._parse_rules(css, read_from, is_defaults, tie_breaker, scope)
            yield
