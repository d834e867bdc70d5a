"""The body of ``POST /v1/completions``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from localqwen.server.schemas import FOREIGN, MAX_CHOICES, Generation, TokenId

DEFAULT_MAX_TOKENS = 16  # OpenAI's and vLLM's

Tokens = Annotated[list[TokenId], Field(min_length=1)]
Texts = Annotated[list[str], Field(min_length=1, max_length=MAX_CHOICES)]
TokenLists = Annotated[list[Tokens], Field(min_length=1, max_length=MAX_CHOICES)]


class CompletionRequest(Generation):
    """The body of ``POST /v1/completions``."""

    refused: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **FOREIGN,
        "suffix": ("",),
        "response_format": ({"type": "text"},),
    }

    prompt: str | Tokens | Texts | TokenLists = Field(description="A text, its tokens, or a list of either.")
    echo: bool | None = Field(default=False, description="Give the prompt before the answer.")
    best_of: int | None = None
    logprobs: int | None = Field(default=None, ge=0, le=5)

    @model_validator(mode="after")
    def _can_be_kept(self) -> Self:
        if self.best_of is not None and self.best_of != (self.n or 1):
            raise ValueError("best_of: this server returns every answer that it makes: leave it out")
        if self.echo and self.logprobs is not None:
            raise ValueError(
                "echo: this server has no log probabilities of a prompt: leave one of echo and logprobs out"
            )
        if self.echo and not all(isinstance(prompt, str) for prompt in self.prompts):
            raise ValueError("echo: the prompt must be text")
        if len(self.prompts) * (self.n or 1) > MAX_CHOICES:
            raise ValueError(f"a request gives at most {MAX_CHOICES} answers: ask with fewer prompts or a smaller n")
        return self

    @property
    def limit(self) -> int | None:
        """How many tokens an answer may have."""
        return self.max_tokens or DEFAULT_MAX_TOKENS

    @property
    def prompts(self) -> list[str] | list[list[int]]:
        """Every prompt."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if isinstance(self.prompt[0], int):
            return [self.prompt]
        return self.prompt
