"""The routes that read: customers, segments, changes, rejects, status, health and metrics."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response, StreamingResponse

from dangol import __version__
from dangol.engine import Engine
from dangol.errors import UsageError
from dangol.render import iso, micros
from dangol.serve import models
from dangol.serve.metrics import CONTENT_TYPE_LATEST, Metrics
from dangol.serve.problems import HttpProblem
from dangol.serve.status import not_ready, status_json
from dangol.serve.stream import Stopping, Streams, change_events

__all__ = ["reading_router"]

Limit = Annotated[int, Query(ge=1, le=1000, description="How many at most.")]
Responses = dict[int | str, dict[str, Any]]
After = Annotated[int, Query(ge=0, description="Cursor: the `next` of the page before; 0 from the start.")]
AS_OF = "ISO 8601, not before the engine's clock, which holds if left out; a + must be written %2B."
# in a query a + stands for a blank; behind a time of day it can only have been the sign of an offset
BLANK_FOR_PLUS = re.compile(r"(?<=[0-9]) (?=[0-9]{2}:?[0-9]{2}$)")
TIME_OF_DAY = re.compile(r"[T ][0-9]{2}:[0-9]{2}[0-9:.,]* ")


def reading_router(engine: Engine, *, streams: Streams, stopping: Stopping) -> APIRouter:
    """Return the reading routes of `engine`."""
    router = APIRouter()
    _add_customers(router, engine)
    _add_feeds(router, engine)
    _add_stream(router, engine, streams, stopping)
    _add_state(router, engine)
    return router


def _json(value: Any) -> Response:
    # encoded here, not by the framework: answers can be long, and the shapes are the engine's own
    return Response(msgspec.json.encode(value), media_type="application/json")


def _add_customers(router: APIRouter, engine: Engine) -> None:
    @router.get("/v1/customers", response_model=models.Customers, tags=["customers"])
    def list_customers(
        segment: models.SegmentName | None = None,
        limit: Limit = 100,
        after: Annotated[str | None, Query(description="The `next` of the page before.")] = None,
        as_of: Annotated[str | None, Query(description=AS_OF)] = None,
    ) -> Response:
        """List customers, all or those of one segment, page by page."""
        moment = None if as_of is None else _moment(as_of)
        return _json(engine.view.customers(segment=segment, as_of=moment, limit=limit, after=after))

    @router.get("/v1/customers/{customer_id:path}", response_model=models.Customer, tags=["customers"])
    def one_customer(customer_id: str) -> Response:
        """Return all that is known of one customer."""
        return _json(engine.view.customer(customer_id))

    @router.get("/v1/segments", response_model=models.Segments, tags=["customers"])
    def list_segments() -> Response:
        """Return size, money and medians of every segment."""
        return _json({"segments": engine.view.segments(), "as_of": iso(engine.view.as_of)})


def _add_feeds(router: APIRouter, engine: Engine) -> None:
    @router.get("/v1/changes", response_model=models.Changes, tags=["changes"])
    def list_changes(
        after: After = 0,
        limit: Limit = 100,
        customer: Annotated[str | None, Query(description="Only this customer's.")] = None,
    ) -> Response:
        """Return who moved from which segment to which, when and why, in the order of the commits."""
        changes = engine.view.changes(after=after, limit=limit, customer=customer)
        return _json({"changes": changes, "next": changes[-1]["seq"] if changes else after})

    @router.get("/v1/rejects", response_model=models.RejectList, tags=["events"])
    def list_rejects(
        after: After = 0,
        limit: Limit = 100,
        reason: Annotated[str | None, Query(description="Only those with this reason.")] = None,
    ) -> Response:
        """Return lines that were not accepted, with their reason and their original text."""
        rejects = engine.view.rejects(after=after, limit=limit, reason=reason)
        return _json({"rejects": rejects, "next": rejects[-1]["seq"] if rejects else after})


def _add_stream(router: APIRouter, engine: Engine, streams: Streams, stopping: Stopping) -> None:
    sse: Responses = {200: {"description": "Server-sent events.", "content": {"text/event-stream": {}}}}

    @router.get("/v1/changes/stream", response_class=StreamingResponse, responses=sse, tags=["changes"])
    async def stream_changes(
        after: Annotated[
            int | None, Query(ge=0, description="Begin behind this change; only new ones if left out.")
        ] = None,
        last_event_id: Annotated[
            str | None, Header(description="What a browser sends when it comes back; goes before `after`.")
        ] = None,
    ) -> StreamingResponse:
        """Send every change once committed: events named `change`, ids to resume by, heartbeat comments."""
        if streams.full:
            detail = f"{streams.most} streams are open, as many as the server serves."
            raise HttpProblem(429, detail, kind="busy", headers={"Retry-After": "5"})

        def latest() -> int:
            return engine.pipeline.book.last_change

        resumed = int(last_event_id) if last_event_id and last_event_id.isdigit() else after
        start = latest() if resumed is None else resumed
        events = change_events(
            lambda behind, limit: engine.view.changes(after=behind, limit=limit),
            latest=latest,
            after=start,
            streams=streams,
            stopping=stopping,
        )
        headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)


def _add_state(router: APIRouter, engine: Engine) -> None:
    metrics = Metrics(engine)
    unready: Responses = {503: {"model": models.Problem, "description": "The engine takes no events now."}}

    @router.get("/v1/status", response_model=models.StatusNow, tags=["state"])
    def status() -> Response:
        """Return the engine's counters, clock, rates, segments and model at this moment."""
        return _json(status_json(engine))

    @router.get("/healthz", response_model=models.Health, tags=["state"])
    async def alive() -> Response:
        """Say that the process is alive, without a look at the engine."""
        return _json({"status": "alive", "version": __version__})

    @router.get("/readyz", response_model=models.Ready, responses=unready, tags=["state"])
    def ready() -> Response:
        """Say whether the engine takes events; 503 with the reason if not."""
        reason = not_ready(engine)
        if reason:
            raise HttpProblem(503, reason, kind="not-ready", next_step="Act on the reason, then ask again.")
        return _json({"status": "ready"})

    @router.get(
        "/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}}, tags=["state"]
    )
    def prometheus(_request: Request) -> Response:
        """Return all counters in Prometheus text."""
        return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)


def _moment(text: str) -> int:
    meant = BLANK_FOR_PLUS.sub("+", text) if TIME_OF_DAY.search(text) else text
    try:
        return micros(meant)
    except UsageError as error:
        hint = "; in an address, + must be written %2B" if " " in text else ""
        detail = f"as_of: {error}{hint}"
        raise HttpProblem(422, detail, kind="invalid") from error
