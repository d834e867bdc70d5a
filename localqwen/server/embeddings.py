"""``POST /v1/embeddings``."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from localqwen.engine.engine import Engine
from localqwen.server import failures, generation
from localqwen.server.embedding_schema import EmbeddingRequest


def router(engine: Engine, names: Sequence[str]) -> APIRouter:
    """The route over ``engine``, which is served under ``names``."""
    routes = APIRouter()

    @routes.post("/v1/embeddings", tags=["OpenAI"], responses=failures.DOCUMENTED)
    async def embeddings(request: Request, body: EmbeddingRequest) -> Response:
        """A vector of length 1 for each text, as numbers or as base64 of little-endian float32."""
        generation.require_ready(engine)
        generation.require_model(body.model, names)
        vectors = Vectors(engine)
        try:
            await asyncio.to_thread(vectors.submit, body.inputs)
        except BaseException:
            vectors.close()
            raise
        result = vectors.result(names[0], encoded=body.encoding_format == "base64")
        return await generation.unless_disconnected(request, vectors, result)

    return routes


class Vectors:
    """The embeddings of one request."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._futures: list[Future[list[float]]] = []
        self._tokens = 0

    def submit(self, inputs: Sequence[str | list[int]]) -> None:
        """Queue every text; raises what :meth:`Engine.embed` raises."""
        for text in inputs:
            tokens = self._engine.text_prompt(text, control=False) if isinstance(text, str) else text
            self._tokens += len(tokens)
            self._futures.append(self._engine.embed(tokens))

    async def result(self, model: str, *, encoded: bool) -> dict[str, Any]:
        """OpenAI's list of embeddings."""
        vectors = await asyncio.gather(*map(asyncio.wrap_future, self._futures))
        data = [
            {"object": "embedding", "index": i, "embedding": _base64(vector) if encoded else vector}
            for i, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": self._tokens, "total_tokens": self._tokens}
        return {"object": "list", "data": data, "model": model, "usage": usage}

    def close(self) -> None:
        """Give up what is not computed."""
        for future in self._futures:
            future.cancel()


def _base64(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
