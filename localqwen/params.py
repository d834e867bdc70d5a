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

    def overlaid(self, over: SamplingParams) -> SamplingParams:
        """These with those of ``over`` that are set."""
        names = [name for name in over.__slots__ if getattr(over, name) not in (None, ())]
        return replace(self, **{name: getattr(over, name) for name in names})
