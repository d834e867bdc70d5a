"""The FastAPI application over an engine."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp

from localqwen import __version__
from localqwen.engine.engine import Engine
from localqwen.events import Loading, Ready
from localqwen.server import attach, chat, failures
from localqwen.server.failures import ApiError
from localqwen.server.guard import MAX_BODY_BYTES, Guard


@dataclass(frozen=True)
class Access:
    """Who may ask: holders of ``api_key`` if there is one; ``check_host`` lets only loopback names through."""

    api_key: str | None = None
    check_host: bool = True


def create_app(engine: Engine, access: Access, attachments: attach.Attachments) -> ASGIApp:
    """OpenAI's API over ``engine``, which may still be loading."""
    # The documentation pages would load their scripts from the internet; /openapi.json stays.
    app = FastAPI(title="localqwen", version=__version__, docs_url=None, redoc_url=None, max_body_size=MAX_BODY_BYTES)
    failures.install(app)
    app.include_router(chat.router(engine))
    app.include_router(attach.router(attachments))
    started = int(time.time())

    @app.get("/health")
    async def health() -> JSONResponse:
        """200 when the model answers, 503 while it loads."""
        match engine.state:
            case Ready():
                return JSONResponse({"status": "ok"})
            case Loading(progress):
                return JSONResponse({"status": "loading", "progress": progress}, 503)
            case failed:
                return JSONResponse({"status": "error", "message": str(failed.error)}, 503)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The one model that is served."""
        return {"object": "list", "data": [_model(engine, started)]}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        """What is known of a model."""
        if name != engine.name:
            raise ApiError(404, f"There is no model {name!r} here.", code="model_not_found", param="model")
        return _model(engine, started)

    # Around everything, FastAPI's own refusal of large bodies included, which is no error object.
    return Guard(app, api_key=access.api_key, check_host=access.check_host)


def _model(engine: Engine, created: int) -> dict[str, Any]:
    state = engine.state
    # vLLM's name for the context; unknown until the model is loaded.
    size = state.context if isinstance(state, Ready) else None
    return {
        "id": engine.name,
        "object": "model",
        "created": created,
        "owned_by": "localqwen",
        "max_model_len": size,
    }
