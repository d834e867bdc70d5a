"""Inline Markdown of a paragraph that grows, parsed from its last safe place on.

A place is safe when nothing before it waits for what comes: no emphasis is open, no code span, no bracket. What is
parsed up to there is what a parse of the whole makes of it.
"""

from __future__ import annotations

import re
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_core import text_join
from markdown_it.rules_core.state_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from tui.widgets.transcript.inline_rules import UNCLOSED

# How much of the end stays unsettled, how much must have come before it is tried to settle more, in characters.
MARGIN = 100
STEP = 400
_WAITING = re.compile(rf"[`<]|\]\(|{UNCLOSED}")

_BRACKET = re.compile(r"[][]")


class InlineParser:
    """Parses contents of which the next one mostly begins with what came before."""

    def __init__(self, parser: MarkdownIt) -> None:
        self._parser = parser
        self._prefix = ""
        self._tokens: list[Token] = []
        self._try_at = STEP
        self.resets = 0

    def reset(self) -> None:
        """Forget what is settled: references have changed, or another block begins."""
        self._prefix, self._tokens, self._try_at = "", [], STEP
        self.resets += 1

    def parse(self, content: str, env: dict[str, Any]) -> tuple[list[Token], int]:
        """The tokens of a content, and how many of them are settled."""
        if self._prefix and not content.startswith(self._prefix):
            self.reset()
        if len(content) >= self._try_at:
            self._settle(content, env)
        rest, _ = self._run(content[len(self._prefix) :], env)
        return [*self._tokens, *rest], len(self._tokens)

    def _settle(self, content: str, env: dict[str, Any]) -> None:
        begin, cut = len(self._prefix), len(content) - MARGIN
        while (cut := content.rfind(" ", begin, cut)) > begin and content[cut + 1] in " \n":
            pass
        self._try_at = len(content) + STEP
        if cut <= begin:
            return
        tokens, waits = self._run(content[begin : cut + 1], env)
        if not waits:
            self._prefix = content[: cut + 1]
            self._tokens += tokens

    def _run(self, content: str, env: dict[str, Any]) -> tuple[list[Token], bool]:
        tokens: list[Token] = []
        inline = self._parser.inline
        state = StateInline(content, self._parser, env, tokens)
        inline.tokenize(state)
        for rule in inline.ruler2.getRules(""):
            rule(state)
        literal = "".join(token.content for token in tokens if token.type == "text")
        waits = (
            any(mark.open and mark.end < 0 for mark in state.delimiters)
            or _has_open_bracket(literal)
            or _WAITING.search(literal) is not None
        )
        joined = StateCore("", self._parser, env, [Token("inline", "", 0, children=tokens)])
        text_join(joined)
        return joined.tokens[0].children or [], waits


def _has_open_bracket(text: str) -> bool:
    depth = 0
    for bracket in _BRACKET.findall(text):
        depth = depth + 1 if bracket == "[" else max(0, depth - 1)
    return depth > 0
