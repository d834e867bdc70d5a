r"""Rules that CommonMark does not have: addresses that begin with a scheme, and LaTeX as models write it.

To CommonMark ``\(`` and ``\[`` are escaped brackets, and the backslashes in a formula are escapes too: ``\(a \\ b\)``
would be ``(a \ b)``, on the screen and in copies.
"""

from __future__ import annotations

import re

from markdown_it.rules_inline import StateInline, escape

# So long an address or a formula may be, in characters: what begins like one is looked at no further.
LONGEST = 2_000
_SCHEME = re.compile(r"(?:^|[^a-z0-9.+-])(https?|ftp)$", re.IGNORECASE)
# None begins inside of another one of its kind, so that many beginnings without an end cost no more than one.
_FORMULAS = {
    "(": re.compile(rf"\\\((?:[^\\]|\\[^()]){{0,{LONGEST}}}\\\)"),
    "[": re.compile(rf"\\\[(?:[^\\]|\\[^\[\]]){{0,{LONGEST}}}\\\]"),
}
# In text: a formula that may have its end still to come.
UNCLOSED = r"\\[(\[]"


def address(state: StateInline, silent: bool) -> bool:
    """``https://…`` outside of links is one, with itself as its words.

    Markdown-it's own rule looks at all text before each ``://``, which takes minutes for many of them.
    """
    source, at = state.src, state.pos
    # Rules are asked at each sign that may mean something: most often this is all.
    if source[at] != ":" or not source.startswith("://", at, state.posMax):
        return False
    if silent or state.linkLevel or state.md.linkify is None:
        return False
    # The longest scheme and what stands before it.
    scheme = _SCHEME.search(state.pending[-6:])
    if scheme is None:
        return False
    begin = at - len(scheme[1])
    found = state.md.linkify.match_at_start(source[begin : min(state.posMax, begin + LONGEST)])
    if found is None:
        return False
    # Emphasis may end there.
    url = found.url.rstrip("*")
    state.pending = state.pending[: -len(scheme[1])]
    opening = state.push("link_open", "a", 1)
    opening.attrs = {"href": url}
    opening.markup = "linkify"
    state.push("text", "", 0).content = url
    state.push("link_close", "a", -1).markup = "linkify"
    state.pos = begin + len(url)
    return True


def backslash(state: StateInline, silent: bool) -> bool:
    """A formula is one token, as it is written; a bracket that belongs to none keeps its backslash; others are escapes.

    In the place of markdown-it's rule: each one is asked at each sign.
    """
    source, at = state.src, state.pos
    if source[at] != "\\":
        return False
    if at + 1 >= state.posMax or source[at + 1] not in "()[]":
        return escape(state, silent)
    pattern = _FORMULAS.get(source[at + 1])
    formula = pattern.match(source, at, state.posMax) if pattern is not None else None
    if not silent:
        if formula is not None:
            state.push("latex", "", 0).content = formula[0]
        else:
            state.pending += source[at : at + 2]
    state.pos = formula.end() if formula is not None else at + 2
    return True
