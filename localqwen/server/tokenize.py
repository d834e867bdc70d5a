"""``POST /localqwen/tokenize``: how many tokens a conversation or a text takes."""

from __future__ import annotations

import asyncio
from typing import Self

from fastapi import APIRouter
from pydantic import Field, model_validator

from localqwen.engine.engine import Engine
from localqwen.events import Ready
from localqwen.server import failures, generation
from localqwen.server.chat_schema import FunctionTool, Message, told
from localqwen.server.responses import Json
from localqwen.server.schemas import Schema


class TokenizeRequest(Schema):
    """A conversation, or a plain text."""

    messages: list[Message] | None = Field(default=None, min_length=1)
    tools: list[FunctionTool] | None = Field(default=None, max_length=128)
    text: str | None = Field(default=None, description="A text, in which control tokens' texts stay text.")
    count_only: bool | None = Field(default=False, description="Leave the tokens themselves out.")

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.messages is None) == (self.text is None):
            raise ValueError("give either messages or text")
        return self


def router(engine: Engine) -> APIRouter:
    """The route over ``engine``."""
    routes = APIRouter()

    @routes.post("/localqwen/tokenize", tags=["Server"], responses=failures.DOCUMENTED)
    async def tokenize(body: TokenizeRequest) -> Json:
        """The tokens of a text, or of the prompt that a conversation becomes, and how many there are."""
        generation.require_ready(engine)
        tokens = await asyncio.to_thread(_tokens, engine, body)
        size = engine.state.context if isinstance(engine.state, Ready) else None
        counted = {"count": len(tokens), "max_model_len": size}
        return Json(counted if body.count_only else {**counted, "tokens": tokens})

    return routes


def _tokens(engine: Engine, body: TokenizeRequest) -> list[int]:
    if body.messages is None:
        return engine.text_prompt(body.text or "", control=False)
    return engine.chat_prompt(told(body.messages, [tool.function.to_tool() for tool in body.tools or ()]))
