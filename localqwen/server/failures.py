"""Every error as OpenAI's error object: ``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from localqwen.errors import InvalidRequestError, LocalqwenError, PromptTooLongError

log = logging.getLogger(__name__)

WORDS = {
    400: "The request's body is no JSON text.",
    404: "There is nothing at this address: the API is under /v1.",
    405: "This address does not take this method.",
    413: "The request is too large.",
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
) -> JSONResponse:
    """An error as an HTTP response."""
    return JSONResponse(error_object(message, status, code=code, param=param), status, dict(headers or {}))


def install(app: FastAPI) -> None:
    """Make every failure of ``app`` an error object."""

    @app.exception_handler(ApiError)
    async def api_error(_request: Request, error: ApiError) -> JSONResponse:
        return error_response(str(error), error.status, code=error.code, param=error.param, headers=error.headers)

    @app.exception_handler(PromptTooLongError)
    async def prompt_too_long(_request: Request, error: PromptTooLongError) -> JSONResponse:
        return error_response(str(error), 400, code="context_length_exceeded", param="messages")

    @app.exception_handler(InvalidRequestError)
    async def invalid_request(_request: Request, error: InvalidRequestError) -> JSONResponse:
        return error_response(str(error), 400)

    @app.exception_handler(LocalqwenError)
    async def expected(_request: Request, error: LocalqwenError) -> JSONResponse:
        return error_response(str(error), 500)

    @app.exception_handler(RequestValidationError)
    async def validation(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        param = ".".join(str(part) for part in first["loc"] if part != "body")
        reason = str(first["msg"]).removeprefix("Value error, ")
        return error_response(f"{param}: {reason}." if param else f"{reason}.", 400, param=param or None)

    @app.exception_handler(HTTPException)
    async def http(_request: Request, error: HTTPException) -> JSONResponse:
        message = WORDS.get(error.status_code, str(error.detail))
        return error_response(message, error.status_code, headers=error.headers)

    @app.exception_handler(Exception)
    async def unexpected(_request: Request, error: Exception) -> JSONResponse:
        log.error("A request failed", exc_info=error)
        return error_response("The server failed on this request: its log says more.", 500)
