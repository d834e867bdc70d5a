"""Every error as OpenAI's error object: ``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from localqwen.errors import InvalidRequestError, LocalqwenError, PromptTooLongError
from localqwen.server.responses import Json

log = logging.getLogger(__name__)

WORDS = {
    400: "The request's body is no JSON text.",
    404: "There is nothing at this address: the API is under /v1.",
    405: "This address does not take this method.",
    413: "The request is too large.",
}
PROMPTS = {"/v1/completions": "prompt", "/v1/embeddings": "input"}


class ErrorWords(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorObject(BaseModel):
    """OpenAI's error object."""

    error: ErrorWords


DOCUMENTED: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorObject, "description": "The request is wrong, or its prompt does not fit."},
    401: {"model": ErrorObject, "description": "The API key is missing or wrong."},
    404: {"model": ErrorObject, "description": "There is no such model."},
    413: {"model": ErrorObject, "description": "The request is too large."},
    503: {"model": ErrorObject, "description": "The model still loads, or cannot be loaded."},
}


class ApiError(Exception):
    """An error that a route found by itself."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, param: str | None = None, retry: int | None = None
    ) -> None:
        """``retry`` is after how many seconds asking again makes sense."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.headers = {"Retry-After": str(retry)} if retry is not None else None


def error_object(message: str, status: int, *, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """The JSON body of an error."""
    kinds = {401: "authentication_error", 404: "not_found_error"}
    kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_response(
    message: str,
    status: int,
    *,
    code: str | None = None,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Json:
    """An error as an HTTP response."""
    return Json(error_object(message, status, code=code, param=param), status, dict(headers or {}))


def install(app: FastAPI) -> None:
    """Make every failure of ``app`` an error object."""

    @app.exception_handler(ApiError)
    async def api_error(_request: Request, error: ApiError) -> Json:
        return error_response(str(error), error.status, code=error.code, param=error.param, headers=error.headers)

    @app.exception_handler(PromptTooLongError)
    async def prompt_too_long(request: Request, error: PromptTooLongError) -> Json:
        return error_response(
            str(error), 400, code="context_length_exceeded", param=PROMPTS.get(request.url.path, "messages")
        )

    @app.exception_handler(InvalidRequestError)
    async def invalid_request(_request: Request, error: InvalidRequestError) -> Json:
        return error_response(str(error), 400, param=error.param)

    @app.exception_handler(LocalqwenError)
    async def expected(_request: Request, error: LocalqwenError) -> Json:
        return error_response(str(error), 500)

    @app.exception_handler(RequestValidationError)
    async def validation(request: Request, error: RequestValidationError) -> Json:
        if not isinstance(error.body, Mapping):
            return error_response(_no_object(request), 400)
        # Where a value may be one of several things, the error farthest inside is about the one that was meant.
        path, reason = max((_located(detail, error.body) for detail in error.errors()), key=lambda found: len(found[0]))
        param = ".".join(path)
        return error_response(f"{param}: {reason}." if param else f"{reason}.", 400, param=param or None)

    @app.exception_handler(HTTPException)
    async def http(_request: Request, error: HTTPException) -> Json:
        message = WORDS.get(error.status_code, str(error.detail))
        return error_response(message, error.status_code, headers=error.headers)

    @app.exception_handler(Exception)
    async def unexpected(_request: Request, error: Exception) -> Json:
        log.error("A request failed", exc_info=error)
        return error_response("The server failed on this request: its log says more.", 500)


def _no_object(request: Request) -> str:
    """What is wrong with a body that is no JSON object."""
    if "json" not in request.headers.get("content-type", ""):
        return "The request's body has no JSON content type: send the header Content-Type: application/json."
    return "The request's body is no JSON object."


def _located(detail: Mapping[str, Any], body: Any) -> tuple[list[str], str]:
    """Where in the body an error is, and what is wrong there.

    pydantic's own location also names the alternatives that it has tried.
    """
    if "refused" in detail.get("ctx", {}):
        return [detail["ctx"]["refused"]], str(detail["msg"])
    path: list[str] = []
    place = body
    parts = [part for part in detail["loc"] if part != "body"]
    for i, part in enumerate(parts):
        inside = part in place if isinstance(place, Mapping) else isinstance(place, list) and isinstance(part, int)
        if inside:
            place = place[part]
        if inside or (i == len(parts) - 1 and detail["type"] == "missing"):
            path.append(str(part))
    if "discriminator" in detail.get("ctx", {}):
        path.append(detail["ctx"]["discriminator"].strip("'"))
        return path, f"Input should be one of {detail['ctx'].get('expected_tags', 'the known ones')}"
    return path, str(detail["msg"]).removeprefix("Value error, ")
