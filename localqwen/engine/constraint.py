"""What an answer may be. Stands in for the module that compiles these grammars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Grammar:
    """A grammar in llguidance's own form."""

    text: str


def json_object() -> Grammar:
    """Any JSON object."""
    return json_schema({"type": "object"})


def json_schema(schema: Mapping[str, Any]) -> Grammar:
    """What a JSON schema allows."""
    return Grammar(repr(schema))


def lark(text: str) -> Grammar:
    """llguidance's dialect of Lark."""
    return Grammar(text)
