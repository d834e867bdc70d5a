"""The body of ``POST /v1/embeddings``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from localqwen.server.schemas import Schema, TokenId

MAX_INPUTS = 2048  # OpenAI's

Text = Annotated[str, Field(min_length=1)]
Tokens = Annotated[list[TokenId], Field(min_length=1)]
Texts = Annotated[list[Text], Field(min_length=1, max_length=MAX_INPUTS)]
TokenLists = Annotated[list[Tokens], Field(min_length=1, max_length=MAX_INPUTS)]


class EmbeddingRequest(Schema):
    """The body of ``POST /v1/embeddings``."""

    refused: ClassVar[Mapping[str, tuple[Any, ...]]] = {"dimensions": ()}

    input: Text | Tokens | Texts | TokenLists = Field(description="A text, its tokens, or a list of either.")
    model: str | None = Field(default=None, description="One of the names that /v1/models lists.")
    encoding_format: Literal["float", "base64"] | None = "float"

    @property
    def inputs(self) -> list[str] | list[list[int]]:
        """Every text."""
        if isinstance(self.input, str):
            return [self.input]
        if isinstance(self.input[0], int):
            return [self.input]
        return self.input
