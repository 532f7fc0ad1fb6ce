"""Errors as JSON: {error, hint, exit_code, details}, whatever went wrong.

Belongs here: the mapping of `OakError` and of the framework's own errors to answers.
"""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from oakctl.errors import ExitCode, OakError

log = logging.getLogger("oakctl.api")

STATUS = {
    ExitCode.FAILED: 422,
    ExitCode.USAGE: 400,
    ExitCode.NOT_FOUND: 404,
    ExitCode.UNREACHABLE: 502,
    ExitCode.TIMED_OUT: 504,
    ExitCode.CONFLICT: 409,
}


def body_of(error: OakError) -> dict[str, Any]:
    """What crosses the socket for an error; `oakctl.errors.error_for` rebuilds it."""
    return {
        "error": error.message,
        "hint": error.hint,
        "exit_code": int(error.exit_code),
        "details": list(error.details),
    }


def unexpected(error: Exception) -> dict[str, Any]:
    """A fault of ours: logged with its traceback, answered without."""
    log.error("a request broke", exc_info=error)
    hint = "see the root's log, root.log in its state directory"
    return body_of(OakError(f"the root failed: {type(error).__name__}: {error}", hint=hint))


def install(app: FastAPI) -> None:
    """Answer every error of `app` in this form."""

    @app.exception_handler(OakError)
    async def known(_: Request, error: OakError) -> JSONResponse:
        return JSONResponse(body_of(error), STATUS.get(error.exit_code, 500))

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        faults = [
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
            for fault in error.errors()
        ]
        message = "the request is not what this version of oakctl understands"
        return JSONResponse(
            {
                "error": message,
                "hint": "oakctl version",
                "exit_code": int(ExitCode.USAGE),
                "details": faults,
            },
            400,
        )

    @app.exception_handler(HTTPException)
    async def framework(_: Request, error: HTTPException) -> JSONResponse:
        code = ExitCode.NOT_FOUND if error.status_code == 404 else ExitCode.USAGE
        return JSONResponse(
            {
                "error": f"/v1: {error.detail}",
                "hint": "oakctl version",
                "exit_code": int(code),
                "details": [],
            },
            error.status_code,
        )


class Boundary:
    """The outermost ASGI layer: counts requests, and makes a clean 500 of what nobody expected."""

    def __init__(self, app: Any, activity: Any) -> None:
        self._app = app
        self._activity = activity

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            with self._activity.request():
                await self._app(scope, receive, send)
            return
        started = False

        async def watched(message: Any) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        with self._activity.request():
            try:
                await self._app(scope, receive, watched)
            except Exception as error:
                answer = unexpected(error)
                if started:
                    raise
                await JSONResponse(answer, 500)(scope, receive, send)
