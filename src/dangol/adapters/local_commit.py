"""What one micro-batch changes, and how it is written as rows of the database."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from dangol.core.fold import empty_states
from dangol.core.identity import UInt64
from dangol.core.schema import Int64, States

__all__ = ["ChangeRows", "Commit", "Reject", "write_rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """A line that was not accepted, as it is stored."""

    reason: str
    field: str
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRows:
    """Segment changes, column by column; sequence numbers follow `first`, in order."""

    first: int
    slot: Int64
    before: Int64
    after: Int64
    at: Int64
    cause: Sequence[str]
    pointer: Int64
    previous: Int64
    model: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """All that one micro-batch changes."""

    at: int
    clock: int
    counters: Mapping[str, Any]
    lines: pa.RecordBatch | None = None
    slots: Int64 = field(default_factory=lambda: np.empty(0, np.int64))
    states: States = field(default_factory=lambda: empty_states(0))
    customers: tuple[int, pa.Array] = (0, pa.array([], pa.string()))
    products: tuple[int, pa.Array] = (0, pa.array([], pa.string()))
    countries: tuple[int, pa.Array] = (0, pa.array([], pa.string()))
    invoice_rows: UInt64 = field(default_factory=lambda: np.empty((0, 5), np.uint64))
    changes: ChangeRows | None = None
    rejects: Sequence[Reject] = ()
    replayed: Sequence[int] = ()
    positions: Mapping[str, str] = field(default_factory=dict)
    model_status: Mapping[int, str] = field(default_factory=dict)
    backfill: bool = False


def write_rows(database: sqlite3.Connection, seq: int, log_end: int, batch: Commit) -> None:
    """Write all of `batch` but its lines, within the caller's transaction."""
    database.execute(
        "INSERT INTO commits VALUES (?, ?, ?, ?, ?)",
        (seq, batch.at, batch.clock, log_end, json.dumps(batch.counters)),
    )
    database.execute("DELETE FROM commits WHERE seq < ?", (seq - 1,))
    _write_states(database, seq, batch)
    _write_names(database, batch)
    _write_changes(database, batch)
    _write_rejects(database, seq, batch)
    database.executemany(
        "INSERT OR REPLACE INTO positions VALUES (?, ?, ?)",
        [(source, position, seq) for source, position in batch.positions.items()],
    )
    database.executemany(
        "UPDATE models SET status = ? WHERE version = ?",
        [(status, version) for version, status in batch.model_status.items()],
    )


def _write_states(database: sqlite3.Connection, seq: int, batch: Commit) -> None:
    if len(batch.slots):
        database.execute(
            "INSERT INTO deltas VALUES (?, ?, ?)", (seq, batch.slots.tobytes(), batch.states.tobytes())
        )
    if len(batch.invoice_rows):
        database.execute("INSERT INTO invoice_tail VALUES (?, ?)", (seq, batch.invoice_rows.tobytes()))


def _write_names(database: sqlite3.Connection, batch: Commit) -> None:
    for table, (first, texts) in (
        ("customers", batch.customers),
        ("products", batch.products),
        ("countries", batch.countries),
    ):
        if len(texts):
            database.executemany(f"INSERT INTO {table} VALUES (?, ?)", enumerate(texts.to_pylist(), first))


def _write_changes(database: sqlite3.Connection, batch: Commit) -> None:
    changes = batch.changes
    if changes is None or not len(changes.slot):
        return
    n = len(changes.slot)
    constant = [(batch.at, changes.model, int(batch.backfill))] * n
    columns = (changes.slot, changes.before, changes.after, changes.at, changes.pointer, changes.previous)
    slot, before, after, at, pointer, previous = (column.tolist() for column in columns)
    rows = zip(
        range(changes.first, changes.first + n), slot, before, after, at, changes.cause, pointer, previous, constant,
        strict=True,
    )  # fmt: skip
    database.executemany(
        "INSERT INTO changes (seq, slot, before, after, at, cause, pointer, previous, recorded_at, model, backfill)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        ((*row[:8], *row[8]) for row in rows),
    )


def _write_rejects(database: sqlite3.Connection, seq: int, batch: Commit) -> None:
    database.executemany(
        "INSERT INTO rejects (batch, received_at, reason, field, status, raw) VALUES (?, ?, ?, ?, 'open', ?)",
        [(seq, batch.at, reject.reason, reject.field, reject.raw) for reject in batch.rejects],
    )
    database.executemany(
        "UPDATE rejects SET status = 'replayed' WHERE seq = ?", [(s,) for s in batch.replayed]
    )
