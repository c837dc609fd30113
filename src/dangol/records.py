"""Changes, rejects and models as they are shown: rows of the database behind a cursor."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from dangol.adapters.line_log import LineLog
from dangol.core.schema import SEGMENTS
from dangol.errors import NotFound
from dangol.render import iso

__all__ = ["changes", "model", "models", "rejects"]

_CHANGES = (
    "SELECT c.seq, c.slot, u.id, c.before, c.after, c.at, c.recorded_at, c.cause, c.pointer, c.model, c.backfill"
    " FROM changes c JOIN customers u ON u.slot = c.slot"
)


def changes(
    database: sqlite3.Connection, log: LineLog, *, after: int, limit: int, customer: str | None
) -> list[dict[str, Any]]:
    """Return segment changes behind the cursor `after`, oldest first, with the ids of their events."""
    where = "" if customer is None else " AND u.id = :customer"
    rows = database.execute(
        f"{_CHANGES} WHERE c.seq > :after{where} ORDER BY c.seq LIMIT :limit",
        {"after": after, "limit": limit, "customer": customer},
    ).fetchall()
    causes = _causing_events(log, {(row[8], row[1]) for row in rows if row[8] >= 0})
    return [
        {
            "seq": seq,
            "customer": name,
            "before": SEGMENTS[before],
            "after": SEGMENTS[entered],
            "at": iso(at),
            "recorded_at": iso(recorded_at),
            "cause": cause,
            "events": causes.get((pointer, slot), []),
            "model": version,
            "backfill": bool(backfill),
        }
        for seq, slot, name, before, entered, at, recorded_at, cause, pointer, version, backfill in rows
    ]


def _causing_events(log: LineLog, wanted: set[tuple[int, int]]) -> Mapping[tuple[int, int], list[str]]:
    """Return the event ids of each (pointer of a batch, slot); each batch is read once."""
    found: dict[tuple[int, int], list[str]] = {}
    for pointer in sorted({pointer for pointer, _ in wanted}):
        batch = log.batch_at(pointer)
        slots, ids = batch.column("slot").to_numpy(), batch.column("event_id")
        for slot in (slot for place, slot in wanted if place == pointer):
            found[pointer, slot] = ids.filter(pa.array(slots == slot)).to_pylist()
    return found


def rejects(
    database: sqlite3.Connection, *, after: int, limit: int, reason: str | None
) -> list[dict[str, Any]]:
    """Return rejected lines behind the cursor `after`, oldest first; bytes that are no UTF-8 as escapes."""
    where = "" if reason is None else " AND reason = :reason"
    rows = database.execute(
        "SELECT seq, received_at, reason, field, raw, status FROM rejects"
        f" WHERE seq > :after{where} ORDER BY seq LIMIT :limit",
        {"after": after, "limit": limit, "reason": reason},
    )
    return [
        {
            "seq": seq,
            "received_at": iso(at),
            "reason": why,
            "field": field,
            "raw": bytes(raw).decode("utf-8", "backslashreplace"),
            "status": status,
        }
        for seq, at, why, field, raw, status in rows
    ]


def models(database: sqlite3.Connection) -> list[dict[str, Any]]:
    """Return all models, newest first: version, status, when it was made and its kind."""
    rows = database.execute("SELECT version, status, created_at, card FROM models ORDER BY version DESC")
    return [
        {"version": version, "status": status, "created_at": iso(at), "kind": json.loads(card)["kind"]}
        for version, status, at, card in rows
    ]


def model(database: sqlite3.Connection, version: int | None) -> dict[str, Any]:
    """Return the card of a model, the live one if `version` is None; raises NotFound."""
    where, values = ("status = 'live'", ()) if version is None else ("version = ?", (version,))
    row = database.execute(f"SELECT version, status, card FROM models WHERE {where}", values).fetchone()
    if row is None:
        message = f"there is no model {version}: `dangol model list` shows those there are"
        raise NotFound(message)
    card: dict[str, Any] = json.loads(row[2])
    return card | {"version": row[0], "status": row[1]}
