"""What the requests of several routes may say, as in OpenAI's API; unknown fields are ignored, as other servers do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from localqwen.params import SamplingParams

MAX_CHOICES = 128


class Schema(BaseModel):
    """Numbers must be finite: JSON has no NaN, but Python reads it."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    # Known wishes that nobody here fulfils, with the values that wish for nothing. An ignored wish would be worse than
    # a refused one: its answer looks right and is not.
    refused: ClassVar[Mapping[str, tuple[Any, ...]]] = {}

    @model_validator(mode="before")
    @classmethod
    def _only_what_can_be_kept(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for name, harmless in cls.refused.items():
                if name in data and data[name] is not None and data[name] not in harmless:
                    raise PydanticCustomError(
                        "refused", "this server cannot do what it asks for, so leave it out", {"refused": name}
                    )
        return data


class TextPart(Schema):
    """A part of a message."""

    type: Literal["text"]
    text: str


class StreamOptions(Schema):
    """What a stream says beyond the text."""

    include_usage: bool = Field(default=False, description="Tell the usage in a last chunk.")


StopString = Annotated[str, Field(min_length=1, max_length=1000)]
TokenIdText = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]

# vLLM's and llama-server's extensions that change an answer.
FOREIGN: Mapping[str, tuple[Any, ...]] = {
    "min_tokens": (0,),
    "stop_token_ids": ([],),
    "ignore_eos": (False,),
    "use_beam_search": (False,),
    "guided_json": (),
    "guided_regex": (),
    "guided_choice": (),
    "guided_grammar": (),
    "structured_outputs": (),
    "grammar": ("",),
    "json_schema": (),
    "prompt_logprobs": (),
    "bad_words": ([],),
}


class Generation(Schema):
    """Sampling and limits, which are the same for every route that generates."""

    model: str | None = Field(default=None, description="One of the names that /v1/models lists.")
    temperature: float | None = Field(default=None, ge=0, le=2, description="0 takes the likeliest token always.")
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=-1, lt=2**31, description="0 and -1 are off.")
    min_p: float | None = Field(default=None, ge=0, le=1)
    repetition_penalty: float | None = Field(default=None, gt=0, le=10)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    seed: int | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    stop: StopString | Annotated[list[StopString], Field(max_length=16)] | None = None
    logit_bias: dict[TokenIdText, Annotated[float, Field(ge=-100, le=100)]] | None = Field(
        default=None, max_length=1024
    )
    n: int | None = Field(default=None, ge=1, le=MAX_CHOICES, description="How many answers to give.")
    stream: bool | None = False
    stream_options: StreamOptions | None = None

    @property
    def limit(self) -> int | None:
        """How many tokens an answer may have."""
        return self.max_tokens

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def bias(self) -> tuple[tuple[int, float], ...]:
        """Token ids and what is added to their logits."""
        return tuple((int(token), value) for token, value in (self.logit_bias or {}).items())

    def params(self, *, more_stops: tuple[str, ...] = ()) -> list[SamplingParams]:
        """Sampling and limits of each of the ``n`` answers, which differ in their seeds."""
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return [
            SamplingParams(
                temperature=self.temperature,
                top_p=self.top_p,
                top_k=self.top_k,
                min_p=self.min_p,
                repetition_penalty=self.repetition_penalty,
                frequency_penalty=self.frequency_penalty,
                presence_penalty=self.presence_penalty,
                seed=None if self.seed is None else self.seed + i,
                max_tokens=self.limit,
                stop=stop + more_stops,
            )
            for i in range(self.n or 1)
        ]
