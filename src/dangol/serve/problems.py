"""The one shape of every HTTP error: a problem document after RFC 9457, with a line on what to do next."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dangol.errors import Busy, DangolError

__all__ = ["PROBLEM_TYPE", "HttpProblem", "add_handlers", "problem", "problem_of"]

PROBLEM_TYPE = "application/problem+json"
log = logging.getLogger(__name__)

NEXT_BY_STATUS = {
    400: "Correct the request as the detail says and send it again.",
    401: "Send the header Authorization: Bearer KEY with the key the server was started with.",
    403: "Call the server by its own address, from its own pages or from a program.",
    404: "Check the address; /docs lists every route.",
    405: "Use one of the methods named in the Allow header.",
    408: "Send the body without pauses, or in smaller pieces.",
    409: "End the other process that uses the data folder, or choose another folder.",
    413: "Split the body into smaller ones.",
    415: "Send JSON or NDJSON, plain or gzip.",
    422: "Correct the named parameters; /docs shows what each of them takes.",
    429: "Wait as long as Retry-After says and send the same body again; nothing is counted twice.",
    500: "See the server's log for the cause.",
    502: "Check the network and try again.",
    503: "Send the same body again later; nothing of it was stored. GET /readyz tells the state.",
}

NEXT_BY_KIND = {
    "unknown-customer": "Check the id; GET /v1/customers lists them.",
    "unknown-file": "Name one of these; GET /v1/simulator lists them as `files`.",
}
"""Goes before the line of the status."""
JSON_BODY = "The body must be one JSON object, sent with the header Content-Type: application/json."


class HttpProblem(Exception):
    """A refusal that belongs to HTTP alone and so has no place among the engine's errors."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: str,
        next_step: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.next_step = next_step
        self.headers = headers


def problem(
    status: int,
    detail: str,
    *,
    kind: str,
    next_step: str | None = None,
    headers: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Response:
    """Render one problem document; `kind` becomes the last part of its `type`."""
    body: dict[str, Any] = {
        "type": f"urn:dangol:problem:{kind}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "next": next_step or NEXT_BY_KIND.get(kind) or _next_by_status(status),
        **(extra or {}),
    }
    return Response(
        msgspec.json.encode(body), status, headers=dict(headers) if headers else None, media_type=PROBLEM_TYPE
    )


def _next_by_status(status: int) -> str:
    return NEXT_BY_STATUS.get(status, NEXT_BY_STATUS[400 if status < 500 else 500])


def problem_of(error: Exception) -> Response:
    """Render any error: the project's own by their status, HTTP's by theirs, all others as 500."""
    if isinstance(error, Busy):
        return problem(429, str(error), kind="busy", headers={"Retry-After": retry_after(error)})
    if isinstance(error, DangolError):
        return problem(error.http_status, str(error), kind=_kebab(type(error).__name__))
    if isinstance(error, HttpProblem):
        return problem(
            error.status, str(error), kind=error.kind, next_step=error.next_step, headers=error.headers
        )
    if isinstance(error, HTTPException):
        return _http(error)
    log.error("event=unexpected_error", exc_info=error)
    return problem(500, "The server met an error it did not expect.", kind="unexpected")


def retry_after(error: Busy) -> str:
    """Return the whole seconds a sender is asked to wait: HTTP knows no fractions."""
    return str(max(1, math.ceil(error.retry_after)))


def add_handlers(app: FastAPI) -> None:
    """Make every error of `app` leave as a problem document."""

    async def plain(_request: Request, error: Exception) -> Response:
        return problem_of(error)

    for kind in (DangolError, HttpProblem, HTTPException, Exception):
        app.add_exception_handler(kind, plain)
    app.add_exception_handler(RequestValidationError, _invalid)


async def _invalid(_request: Request, error: Exception) -> Response:
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    errors = [{"where": ".".join(map(str, fault["loc"])), "message": fault["msg"]} for fault in faults]
    if any(tuple(fault["loc"]) == ("body",) for fault in faults):  # the body as a whole is no object
        step = "Send an object with that header; /docs shows its fields."
        return problem(422, JSON_BODY, kind="invalid", next_step=step, extra={"errors": errors})
    detail = "; ".join(f"{fault['where']}: {fault['message']}" for fault in errors)
    return problem(422, detail or "The request is not valid.", kind="invalid", extra={"errors": errors})


def _http(error: HTTPException) -> Response:
    details = {
        404: "There is nothing at this address.",
        405: "This address does not take this method.",
    }
    phrase = HTTPStatus(error.status_code).phrase
    detail = details.get(error.status_code, error.detail) if error.detail == phrase else error.detail
    return problem(
        error.status_code, str(detail), kind=_kebab(phrase.title().replace(" ", "")), headers=error.headers
    )


def _kebab(name: str) -> str:
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")
