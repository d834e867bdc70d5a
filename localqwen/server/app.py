"""The FastAPI application over an engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import Depends
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from localqwen import __version__
from localqwen.engine.engine import Engine
from localqwen.server import attach, chat, completions, embeddings, failures, metrics, models, tokenize
from localqwen.server.guard import MAX_BODY_BYTES, Guard

DESCRIPTION = "OpenAI's API for one model. Sampling parameters beyond OpenAI's have vLLM's names."


@dataclass(frozen=True)
class Access:
    """Who may ask: holders of ``api_key`` if there is one; ``check_host`` lets only loopback names through.

    Scripts of web pages may read the answers when the page's origin, such as ``http://localhost:3000``, is one of
    ``origins``; ``*`` is any page.
    """

    api_key: str | None = None
    check_host: bool = True
    origins: tuple[str, ...] = ()


def create_app(engine: Engine, access: Access, attachments: attach.Attachments, names: Sequence[str] = ()) -> ASGIApp:
    """OpenAI's API over ``engine``, which may still be loading, as a model of these ``names`` (default: the engine's).

    Answers carry the first name.
    """
    names = tuple(names) or (engine.name,)
    # FastAPI's own documentation pages would load their scripts from the internet.
    app = FastAPIOffline(
        title="localqwen",
        version=__version__,
        description=DESCRIPTION,
        max_body_size=MAX_BODY_BYTES,
        # Lets the documentation page ask for the key; the guard is what checks it.
        dependencies=[Depends(HTTPBearer(auto_error=False))] if access.api_key else None,
    )
    failures.install(app)
    for router in (
        chat.router(engine, names),
        completions.router(engine, names),
        embeddings.router(engine, names),
        models.router(engine, names),
        tokenize.router(engine),
        attach.router(attachments),
    ):
        app.include_router(router)
    counted = metrics.Metrics(app, engine, names[0])
    app.include_router(counted.router())
    # Around everything, FastAPI's own refusal of large bodies included, which is no error object.
    guarded = Guard(counted, api_key=access.api_key, check_host=access.check_host)
    if not access.origins:
        return guarded
    # Outside of the guard, because a browser's preflight request carries no key.
    return CORSMiddleware(
        guarded,
        allow_origins=access.origins,
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        allow_private_network=True,
    )
