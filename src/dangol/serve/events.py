"""`POST /v1/events`: answers once the lines are durable, and never loses a good line to a bad one."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from dangol.engine import Engine
from dangol.errors import UsageError
from dangol.receipt import Receipt
from dangol.serve.intake import Intake
from dangol.serve.problems import HttpProblem, problem_of

__all__ = ["MAX_REJECTS_SHOWN", "EventsRoute", "receipt_json", "to_ndjson_lines"]

MAX_REJECTS_SHOWN = 1000
NDJSON_TYPES = frozenset(
    {
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonlines",
        "application/jsonlines",
        "application/json-lines",
        "application/json-seq",
    }
)
# What clients send when nobody told them: curl --data-binary says form-urlencoded.
SNIFFED_TYPES = frozenset(
    {"", "application/json", "text/json", "text/plain", "application/octet-stream"}
    | {"application/x-www-form-urlencoded"}
)
SPACE = b" \t\r\n"


class EventsRoute:
    """The hot route, as a plain endpoint: the bytes go to the engine as they came.

    Nothing here looks at single lines of NDJSON; a body is joined once and handed over.
    """

    def __init__(self, engine: Engine, intake: Intake) -> None:
        self.engine = engine
        self.intake = intake

    async def take(self, request: Request) -> Response:
        """Take one body in and answer when the commit that holds it is on disk."""
        try:
            kind = _media_type(request)
            body = to_ndjson_lines(await self.intake.read(request), ndjson=kind in NDJSON_TYPES)
            future = self.engine.submit(body)
            # shielded: a sender that leaves must not cancel lines that are already queued
            receipt = await asyncio.shield(asyncio.wrap_future(future))
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it
        except Exception as error:  # noqa: BLE001 - the top of serve/: each error leaves as a problem
            return problem_of(error)
        content = msgspec.json.encode(receipt_json(receipt))
        return Response(content, 207 if receipt.rejected else 200, media_type="application/json")


def receipt_json(receipt: Receipt) -> dict[str, Any]:
    """Return the answer to a sender: the counts, the batch, and which lines were rejected and why."""
    shown = receipt.rejects[:MAX_REJECTS_SHOWN]
    return {
        "events": receipt.events,
        "accepted": receipt.accepted,
        "anonymous": receipt.anonymous,
        "rejected": receipt.rejected,
        "duplicates": receipt.duplicates,
        "batch": receipt.batch,
        "rejects": [{"line": r.line, "field": r.field, "reason": r.reason} for r in shown],
        "rejects_left_out": max(0, receipt.rejected - len(shown)),
    }


def to_ndjson_lines(body: bytes, *, ndjson: bool) -> bytes:
    """Return `body` as NDJSON: as it is, or an object or an array's elements as one line each.

    Without a type that says NDJSON the first character decides: `[` begins an array; `{` begins NDJSON
    when the first line is a whole value by itself, else one object that may span lines.
    """
    start = _first(body)
    if start is None:
        message = "The body is empty; send a JSON object, a JSON array of objects, or NDJSON."
        raise UsageError(message)
    if ndjson or (body[start] == ord("{") and _first_line_is_whole(body, start)):
        return body
    if body[start] == ord("["):
        return b"\n".join(_one_line(bytes(element)) for element in _decode(body, list[msgspec.Raw]))
    if body[start] == ord("{"):
        return _one_line(bytes(_decode(body, msgspec.Raw)))
    message = "The body begins with neither { nor [; send a JSON object, an array of objects, or NDJSON."
    raise UsageError(message)


def _first(body: bytes) -> int | None:
    for place in range(min(len(body), 65536)):
        if body[place] not in SPACE:
            return place
    return None if not body.strip() else 0


def _first_line_is_whole(body: bytes, start: int) -> bool:
    end = body.find(b"\n", start)
    if end < 0 or not body[end:].strip():
        return False  # one line only: decoded as one object, so that a broken one is a plain 400
    return _is_json(body[start:end])


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _decode(body: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        message = (
            f"The body is not JSON ({error}); correct it, or send one object a line as application/x-ndjson."
        )
        raise UsageError(message) from error


def _one_line(element: bytes) -> bytes:
    # line ends inside JSON text can only stand between its tokens
    return element.replace(b"\r", b" ").replace(b"\n", b" ")


def _media_type(request: Request) -> str:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in NDJSON_TYPES or kind in SNIFFED_TYPES or kind.endswith("+json"):
        return kind
    detail = f"The content type {kind!r} is not one this address takes."
    raise HttpProblem(
        415, detail, kind="content-type", headers={"Accept-Post": "application/json, application/x-ndjson"}
    )
