"""The catalogue: the cards in ``models/`` say what can be had, its shape, its window, its defaults and its licence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import models

DEMO = "demo"

T = TypeVar("T")


class CardError(Exception):
    """A card in ``models/`` is malformed: a mistake of ours, found by a test, never by a user."""


@dataclass(frozen=True, slots=True)
class Licence:
    """The model's licence: its SPDX or hub identifier and where its text stands."""

    id: str
    link: str


@dataclass(frozen=True, slots=True)
class Experts:
    """The Mixture-of-Experts part of a shape; widths are of the feed-forward networks."""

    count: int
    used: int
    feed_forward: int
    shared_feed_forward: int


@dataclass(frozen=True, slots=True)
class Shape:
    """The dimensions in a checkpoint's ``config.json``."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    feed_forward: int
    vocabulary: int
    tied: bool
    experts: Experts | None = None

    @property
    def parameters(self) -> int:
        """Number of weights, counted tensor by tensor as in the checkpoint (biases and norms included)."""
        kv_width = self.hidden // self.heads * self.kv_heads
        attention = 2 * self.hidden * (self.hidden + kv_width) + self.hidden + 2 * kv_width
        layer = attention + self._feed_forward_parameters() + 2 * self.hidden
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return self.layers * layer + embeddings + self.hidden

    def _feed_forward_parameters(self) -> int:
        if self.experts is None:
            return 3 * self.hidden * self.feed_forward
        width = self.experts.count * self.experts.feed_forward + self.experts.shared_feed_forward
        routers = self.hidden * (self.experts.count + 1)
        return 3 * self.hidden * width + routers


@dataclass(frozen=True, slots=True)
class Window:
    """Context length in tokens: as trained, and with YaRN where the model card supports it."""

    native: int
    yarn: int | None = None

    @property
    def longest(self) -> int:
        """The largest window that the model card supports."""
        return self.yarn or self.native

    @property
    def yarn_factor(self) -> float | None:
        """The scaling factor at the largest window; ``None`` without YaRN."""
        return self.yarn / self.native if self.yarn else None


@dataclass(frozen=True, slots=True)
class Sampling:
    """The publisher's sampling defaults; ``None`` where it gives none."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """One release. ``name`` is what a person types; ``draft`` names a smaller card for speculative decoding."""

    name: str
    title: str
    repository: str
    kind: Literal["base", "instruct"]
    licence: Licence
    shape: Shape
    window: Window
    sampling: Sampling
    draft: str | None = None

    @property
    def basename(self) -> str:
        """The repository's last part, which is how its GGUF files are named."""
        return self.repository.rpartition("/")[2]


@cache
def cards() -> Mapping[str, Card]:
    """All cards by name, the smallest model first."""
    read = [parse_card(file.read_text(encoding="utf-8")) for file in _files()]
    return {card.name: card for card in sorted(read, key=lambda card: (card.shape.parameters, card.name))}


@cache
def card(name: str) -> Card | None:
    """The card of that name, without reading the others."""
    file = next((file for file in _files() if file.stem == name), None)
    return parse_card(file.read_text(encoding="utf-8")) if file is not None else None


def _files() -> list[Path]:
    # importlib.resources would do for packages that are zipped, which a native llama.cpp rules out; it takes as long to
    # import as all cards take to read.
    return list(Path(models.__path__[0]).glob("*.toml"))


def parse_card(text: str) -> Card:
    """Read one card. Raises :class:`CardError` for an unknown, missing or mistyped field."""
    import tomllib

    table = tomllib.loads(text)
    shape = dict(table.pop("shape", {}))
    experts = shape.pop("experts", None)
    try:
        return Card(
            **table
            | {
                "licence": _record(Licence, table.get("licence", {})),
                "shape": _record(Shape, shape | {"experts": experts and _record(Experts, experts)}),
                "window": _record(Window, table.get("window", {})),
                "sampling": _record(Sampling, table.get("sampling", {})),
            }
        )
    except TypeError as error:
        raise CardError(f"{table.get('name', 'a card')}: {error}") from error


def _record(kind: type[T], table: dict[str, Any]) -> T:
    record = kind(**table)
    for field in fields(record):  # type: ignore[arg-type]
        value = getattr(record, field.name)
        if field.type == "int" and (type(value) is not int or value <= 0):
            raise TypeError(f"{field.name} must be a positive whole number, not {value!r}")
    return record
