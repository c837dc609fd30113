"""Puts the HTTP application together: routes, one error shape, the guard, and the OpenAPI document."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.routing import Route

from dangol import __version__
from dangol.config import Settings
from dangol.engine import Engine
from dangol.serve import models
from dangol.serve.control import control_router
from dangol.serve.events import EventsRoute
from dangol.serve.guard import Guard
from dangol.serve.intake import Intake
from dangol.serve.page import add_pages
from dangol.serve.problems import PROBLEM_TYPE, add_handlers
from dangol.serve.reading import reading_router
from dangol.serve.simulator import Simulator
from dangol.serve.stream import Stopping, Streams

__all__ = ["create_app"]

PROBLEM_REF = {"$ref": "#/components/schemas/Problem"}
EVENTS_ERRORS = {
    "400": "The body is empty, no JSON, or damaged gzip.",
    "408": "The body stopped coming.",
    "413": "The body is larger than the limit, which the detail names.",
    "415": "Neither JSON nor NDJSON, or an encoding other than gzip.",
    "429": "As much waits as may; send the same body again after Retry-After seconds.",
    "503": "The commit failed; nothing of this request was stored.",
}


def create_app(
    engine: Engine, *, settings: Settings, simulator: Simulator, stopping: Stopping | None = None
) -> FastAPI:
    """Return the application that serves `engine`."""
    app = FastAPI(
        title="dangol",
        version=__version__,
        description="A shop's purchase stream in; every customer's RFM and segment out.",
        docs_url=None,
        redoc_url=None,
        responses={"default": {"model": models.Problem, "description": "Any error (RFC 9457)."}},
    )
    intake = Intake(max_body=settings.max_body_bytes, max_total=settings.queue_bytes)
    app.router.routes.append(Route("/v1/events", EventsRoute(engine, intake).take, methods=["POST"]))
    app.include_router(reading_router(engine, streams=Streams(), stopping=stopping or Stopping()))
    app.include_router(control_router(simulator))
    add_pages(app)
    add_handlers(app)
    app.add_middleware(Guard, api_key=settings.api_key)
    _document(app, keyed=bool(settings.api_key))
    return app


def _document(app: FastAPI, *, keyed: bool) -> None:
    """Complete the OpenAPI document: the hot route is no FastAPI route, and errors have their own type."""
    built: dict[str, Any] = {}

    def document() -> dict[str, Any]:
        if not built:
            built.update(
                get_openapi(
                    title=app.title, version=app.version, description=app.description, routes=app.routes
                )
            )
            _add_events(built)
            _retype_errors(built)
            if keyed:
                built["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
                built["security"] = [{"key": []}]
        return built

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way to change it


def _add_events(document: dict[str, Any]) -> None:
    schema = models.EventsReceipt.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas = document["components"]["schemas"]
    schemas.update(schema.pop("$defs", {}))
    schemas["EventsReceipt"] = schema
    receipt = {"application/json": {"schema": {"$ref": "#/components/schemas/EventsReceipt"}}}
    line = {"type": "object", "example": EXAMPLE}
    responses: dict[str, Any] = {
        "200": {"description": "Every line is durable.", "content": receipt},
        "207": {
            "description": "Good lines are durable; others were rejected, see `rejects`.",
            "content": receipt,
        },
    }
    for status, text in EVENTS_ERRORS.items():
        responses[status] = {"description": text, "content": {PROBLEM_TYPE: {"schema": PROBLEM_REF}}}
    document["paths"]["/v1/events"] = {
        "post": {
            "tags": ["events"],
            "summary": "Take lines in",
            "description": "Answers once the lines are on disk. Takes `Content-Encoding: gzip`.",
            "operationId": "take_events",
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": {"oneOf": [line, {"type": "array", "items": line}]}},
                    "application/x-ndjson": {
                        "schema": {"type": "string", "description": "One object a line."}
                    },
                },
            },
            "responses": responses,
        }
    }


def _retype_errors(document: dict[str, Any]) -> None:
    for path in document["paths"].values():
        for operation in path.values():
            responses = operation["responses"]
            if "422" in responses:
                responses["422"] = {"description": "A parameter is not valid.", "content": {}}
            responses.setdefault("default", {"description": "Any error (RFC 9457)."})
            for status, response in responses.items():
                if status == "default" or status[0] in "45":
                    response["content"] = {PROBLEM_TYPE: {"schema": PROBLEM_REF}}
    for unused in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(unused, None)


EXAMPLE = {
    "EventId": "shop-000000017",
    "InvoiceNo": "536365",
    "StockCode": "85123A",
    "Description": "WHITE HANGING HEART T-LIGHT HOLDER",
    "Quantity": 6,
    "InvoiceDate": "2010-12-01T08:26:00",
    "UnitPrice": 2.55,
    "CustomerID": "17850",
    "Country": "United Kingdom",
}
