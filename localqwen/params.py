"""What a caller may ask of an answer; ``None`` leaves the choice to the server and so to the model's own defaults."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypedDict

Role = Literal["system", "user", "assistant"]


class ChatMessage(TypedDict):
    """One message of a conversation, as in OpenAI's API."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """Sampling and length limits of one answer, named as in OpenAI's API where it has the parameter."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, told: object) -> SamplingParams:
        """The numbers of an object from elsewhere; what is none, or is called otherwise, is left out."""
        known = [name for name in cls.__slots__ if name != "stop"]
        values = {name: told.get(name) for name in known} if isinstance(told, dict) else {}
        return cls(**{name: value for name, value in values.items() if type(value) in {int, float}})  # type: ignore[arg-type]

    def overlaid(self, over: SamplingParams) -> SamplingParams:
        """These with those of ``over`` that are set."""
        names = [name for name in over.__slots__ if getattr(over, name) not in (None, ())]
        return replace(self, **{name: getattr(over, name) for name in names})
