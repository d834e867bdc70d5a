"""What a request may say, as in OpenAI's API; further fields are ignored, as other servers do."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from localqwen.params import ChatMessage, SamplingParams


class Schema(BaseModel):
    """Numbers must be finite: JSON has no NaN, but Python reads it."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class TextPart(Schema):
    """A part of a message."""

    type: Literal["text"]
    text: str


class Message(Schema):
    """A message of the conversation."""

    # "developer" is what OpenAI now calls the system's role.
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    def to_chat_message(self) -> ChatMessage:
        """The message with its parts joined, as templates want it."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return ChatMessage(role="system" if self.role == "developer" else self.role, content=text)


class StreamOptions(Schema):
    """What a stream says beyond the text."""

    include_usage: bool = False


StopString = Annotated[str, Field(min_length=1, max_length=1000)]


class ChatRequest(Schema):
    """The body of ``POST /v1/chat/completions``."""

    messages: list[Message] = Field(min_length=1)
    model: str | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=-1, lt=2**31)
    min_p: float | None = Field(default=None, ge=0, le=1)
    repetition_penalty: float | None = Field(default=None, gt=0, le=10)
    seed: int | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    stop: StopString | Annotated[list[StopString], Field(max_length=16)] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int | None = None
    tools: list[Any] | None = None
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None

    @model_validator(mode="after")
    def _only_what_can_be_kept(self) -> Self:
        # An ignored wish would be worse than a refused one: its answer looks right and is not.
        if self.n not in {None, 1}:
            raise ValueError("this server gives one choice per request: n must be 1")
        if self.tools:
            raise ValueError("this server does not call tools")
        if self.response_format is not None and self.response_format.get("type") != "text":
            raise ValueError("this server's only response_format is text")
        if self.logprobs:
            raise ValueError("this server does not give logprobs")
        return self

    @property
    def chat_messages(self) -> list[ChatMessage]:
        """The conversation so far."""
        return [message.to_chat_message() for message in self.messages]

    @property
    def params(self) -> SamplingParams:
        """Sampling and limits."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return SamplingParams(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            seed=self.seed,
            max_tokens=self.max_completion_tokens or self.max_tokens,
            stop=tuple(stop),
        )
