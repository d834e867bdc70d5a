"""``GET /v1/models`` and ``GET /health``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from localqwen.engine.engine import Engine
from localqwen.events import Loading, Ready
from localqwen.server import failures
from localqwen.server.failures import ApiError
from localqwen.server.responses import Json


def router(engine: Engine, names: Sequence[str]) -> APIRouter:
    """The routes over ``engine``, which is served under ``names``."""
    routes = APIRouter()
    started = int(time.time())

    @routes.get("/health", tags=["Server"], responses={503: {"description": "The model loads, or cannot be loaded."}})
    async def health() -> Json:
        """200 when the model answers, 503 while it loads."""
        match engine.state:
            case Ready():
                return Json({"status": "ok"})
            case Loading() as loading:
                return Json({"status": "loading", **asdict(loading)}, 503)
            case failed:
                return Json({"status": "error", "message": str(failed.error)}, 503)

    @routes.get("/v1/models", tags=["OpenAI"])
    async def models() -> Json:
        """The one model that is served, under each of its names."""
        return Json({"object": "list", "data": [_card(engine, name, names[0], started) for name in names]})

    @routes.get("/v1/models/{name:path}", tags=["OpenAI"], responses=failures.DOCUMENTED)
    async def model(name: str) -> Json:
        """What is known of a model."""
        if name not in names:
            raise ApiError(404, f"There is no model {name!r} here.", code="model_not_found", param="model")
        return Json(_card(engine, name, names[0], started))

    return routes


def _card(engine: Engine, name: str, root: str, created: int) -> dict[str, Any]:
    state = engine.state
    # vLLM's names for the context, unknown until the model is loaded, and for what an alias means.
    size = state.context if isinstance(state, Ready) else None
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "localqwen",
        "root": root,
        "max_model_len": size,
    }
