"""The CSS of the app, parsed once for each theme.

A theme is a set of variables, and Textual parses all CSS anew for another one: a quarter of what is waited for after
the key. Here it can be parsed beforehand, a piece at a time, and is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from textual.cache import LRUCache
from textual.css.model import RuleSet
from textual.css.styles import Styles
from textual.css.stylesheet import Stylesheet
from textual.css.tokenize import tokenize_values
from textual.css.tokenizer import Token
from textual.dom import DOMNode

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

    def update_nodes(self, nodes: Iterable[DOMNode], animate: bool = False) -> None:
        """Style nodes anew, and then have painted what has changed.

        Textual has a node painted at each rule that changes, and all in it where those may inherit it: with another
        theme that is each node dozens of times, and half of what this takes.
        """
        if animate:
            super().update_nodes(nodes, animate)
            return
        # Whether they have to be laid out too.
        asked: dict[DOMNode, bool] = {}
        with_children: dict[DOMNode, bool] = {}

        def note(
            styles: Styles, *, layout: bool = False, children: bool = False, parent: bool = False, **_: bool
        ) -> None:
            node = styles.node
            if node is None or not node._is_mounted:
                return
            for noted in (asked, with_children) if children else (asked,):
                noted[node] = noted.get(node, False) or layout
            if parent and isinstance(node._parent, DOMNode):
                asked.setdefault(node._parent, False)

        refresh, Styles.refresh = Styles.refresh, note  # type: ignore[method-assign, assignment]
        try:
            super().update_nodes(nodes)
        finally:
            Styles.refresh = refresh  # type: ignore[method-assign]
        for node, layout in with_children.items():
            for child in node.walk_children(with_self=False):
                asked[child] = asked.get(child, False) or layout
        for node, layout in asked.items():
            node.refresh(layout=layout)

    def prepare(self, variables: Mapping[str, str]) -> Iterator[None]:
        """Parse for a theme that may come, a piece at each step, of some milliseconds at most."""
        other = KeptStylesheet({})
        other._tokens, other._parse_cache = self._known_of(variables)
        yield
        for read_from, (css, is_defaults, tie_breaker, scope) in list(self.source.items()):
            other._parse_rules(css, read_from, is_defaults, tie_breaker, scope)
            yield
