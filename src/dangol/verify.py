"""Verify: compute all states anew from the raw lines, in SQL, and compare them with those stored.

Nothing of `core/fold` is used: DuckDB reads the line log up to the committed length and works out each
customer from the definitions. Its memory is bounded; what does not fit goes to the system's temporary
folder. It runs beside an engine: log length and states are read in one transaction, and the log's lines
up to that length never change (but for an erase, which may show as a difference while it runs).
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from dangol.adapters.line_log import STORED
from dangol.adapters.local_read import connect_reader, read_states
from dangol.core.decay import outlook
from dangol.core.features import Rfm
from dangol.core.model_card import Model, from_json
from dangol.core.schema import NEVER, SEGMENTS, States
from dangol.errors import FolderDamaged
from dangol.verify_sql import COMPUTED, FIELDS, LINES, MATCHED

__all__ = ["Verification", "verify"]

_SHOWN = 100
_TRIES = 10
_NOTHING = {"events": 0, "accepted": 0, "anonymous": 0, "rejected": {}, "duplicates": 0}
Difference = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Whether all is as it should be, how many customers were compared, and the first differences.

    A difference is {customer, field, stored, computed}; `customer` is None where it concerns the whole
    folder (a counter, say). Money is in millionths, times are microseconds UTC.
    """

    equal: bool
    customers: int
    differences: list[Difference]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """What one moment of the folder says."""

    states: States
    log_end: int
    clock: int
    counters: dict[str, Any]
    rejects: int
    ids: list[str | None]
    countries: list[str]
    model: Model
    changes: list[tuple[int, int, int, int]]  # slot, seq, place in SEGMENTS after; the last of each slot


def verify(folder: Path, *, memory_mb: int = 512) -> Verification:
    """Compare the states in `folder` with those computed anew from its lines.

    Raises NotFound, FolderTooNew, FolderDamaged.
    """
    stored = _read(folder)
    with tempfile.TemporaryDirectory(prefix="dangol-verify-") as scratch:
        config = {
            "memory_limit": f"{memory_mb}MB",
            "temp_directory": scratch,
            "preserve_insertion_order": False,
        }
        with duckdb.connect(str(Path(scratch) / "verify.duckdb"), config=config) as sql:
            try:
                _bring_in(sql, folder, stored)
                differences = [*_of_states(sql), *_of_names(sql)]
                rows, anonymous = sql.execute("SELECT rows, anonymous FROM log_totals").fetchall()[0]
            except (duckdb.Error, pa.ArrowException, OSError) as cause:
                message = _cannot(cause)
                raise FolderDamaged(message) from cause
    differences += [*_of_counters(stored, rows, anonymous), *_of_segments(stored), *_of_changes(stored)]
    alive = int((stored.states["alive"] == 1).sum())
    return Verification(equal=not differences, customers=alive, differences=differences[:_SHOWN])


def _cannot(cause: Exception) -> str:
    reason = str(cause).splitlines()[0]
    return f"the lines cannot be worked through ({reason}): restore lines.arrows, or make room for temporary files"


def _read(folder: Path) -> _Stored:
    database = connect_reader(folder)
    try:
        for tries_left in reversed(range(_TRIES)):
            stored = _read_at_once(database, folder, must=not tries_left)
            if stored is not None:
                break
    finally:
        database.close()
    assert stored is not None
    return stored


def _read_at_once(database: sqlite3.Connection, folder: Path, *, must: bool) -> _Stored | None:
    """Read in one transaction; None if a writer replaced the snapshot between our looks at it."""
    database.execute("BEGIN")
    try:
        return _read_within(database, folder)
    except FolderDamaged:
        if must:
            raise
        return None
    finally:
        database.execute("COMMIT")


def _read_within(database: sqlite3.Connection, folder: Path) -> _Stored:
    last = database.execute(
        "SELECT log_end, clock, counters FROM commits ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    states, _ = read_states(database, folder)
    version, card = database.execute("SELECT version, card FROM models WHERE status = 'live'").fetchone()
    ids = database.execute("SELECT id FROM customers ORDER BY slot").fetchall()
    latest = "SELECT max(seq) FROM changes GROUP BY slot"
    return _Stored(
        states=states,
        log_end=last[0] if last else 0,
        clock=last[1] if last else NEVER,
        counters=json.loads(last[2]) if last else _NOTHING,
        rejects=database.execute("SELECT count(*) FROM rejects").fetchone()[0],
        ids=[row[0] for row in ids],
        countries=[row[0] for row in database.execute("SELECT name FROM countries ORDER BY number")],
        model=replace(from_json(card), version=version),
        changes=database.execute(
            f"SELECT slot, seq, after, at FROM changes WHERE seq IN ({latest})"
        ).fetchall(),
    )


def _bring_in(sql: duckdb.DuckDBPyConnection, folder: Path, stored: _Stored) -> None:
    """Copy the lines into DuckDB's own file, and both kinds of states beside them."""
    batches = _batches(folder / "lines.arrows", stored.log_end)
    sql.register("log", pa.RecordBatchReader.from_batches(STORED, batches))
    for statement in LINES:
        sql.execute(statement)
    sql.unregister("log")
    sql.execute(MATCHED)
    sql.execute(COMPUTED)
    sql.register("stored", _stored_table(stored))


def _batches(path: Path, end: int) -> Iterator[pa.RecordBatch]:
    """Read the log front to back up to its committed length; not by a map, whose pages would count as ours."""
    with pa.OSFile(str(path)) as file:
        pa.ipc.read_message(file)  # the schema
        while file.tell() < end:
            yield pa.ipc.read_record_batch(pa.ipc.read_message(file), STORED)


def _stored_table(stored: _Stored) -> pa.Table:
    """Return the states of the customers that were not erased, with the columns of `computed`."""
    slots = np.flatnonzero(stored.states["alive"] == 1)
    states = stored.states[slots]
    names = np.array([*stored.countries, None], np.object_)
    ids = np.array(stored.ids, np.object_)
    columns: dict[str, Any] = {"slot": slots, "id": pa.array(ids[slots], pa.string())}
    for name in FIELDS:
        if name == "country":
            columns[name] = pa.array(names[states[name]], pa.string())
        else:
            values = states[name].astype(np.int64)
            columns[name] = pa.array(values, mask=values == NEVER)
    return pa.table(columns)


def _of_states(sql: duckdb.DuckDBPyConnection) -> list[Difference]:
    parts = [
        f"SELECT coalesce(s.id, c.customer) AS customer, '{name}' AS field,"
        f" s.{name}::VARCHAR AS stored, c.{name}::VARCHAR AS computed"
        " FROM stored s FULL JOIN computed c ON s.slot = c.slot"
        f" WHERE s.{name} IS DISTINCT FROM c.{name}"
        for name in FIELDS
    ]
    found = sql.execute(f"SELECT * FROM ({' UNION ALL '.join(parts)}) ORDER BY ALL LIMIT {_SHOWN}").fetchall()
    return [
        _difference(customer, field, _value(field, stored), _value(field, computed))
        for customer, field, stored, computed in found
    ]


def _value(field: str, text: str | None) -> int | str | None:
    return text if text is None or field == "country" else int(text)


def _of_names(sql: duckdb.DuckDBPyConnection) -> list[Difference]:
    """Return lines that stand under another customer's number."""
    found = sql.execute(
        "SELECT s.id, c.customer FROM stored s JOIN computed c ON s.slot = c.slot"
        f" WHERE s.id IS DISTINCT FROM c.customer OR c.customer <> c.other ORDER BY ALL LIMIT {_SHOWN}"
    ).fetchall()
    return [_difference(stored, "customer", stored, computed) for stored, computed in found]


def _of_counters(stored: _Stored, rows: int, anonymous: int) -> list[Difference]:
    counters = stored.counters
    rejected = sum(counters["rejected"].values())
    parts = counters["accepted"] + counters["anonymous"] + rejected + counters["duplicates"]
    pairs = [
        ("events", counters["events"], parts),
        ("accepted", counters["accepted"], rows - anonymous),
        ("anonymous", counters["anonymous"], anonymous),
    ]
    if None not in stored.ids or stored.rejects > rejected:  # an erase deletes rejected lines too
        pairs.append(("rejected", rejected, stored.rejects))
    return [_difference(None, name, had, found) for name, had, found in pairs if had != found]


def _of_segments(stored: _Stored) -> list[Difference]:
    """Return customers whose segment, or its next change, is not what the live model says at the clock."""
    states = stored.states
    ahead = outlook(Rfm.of(states), stored.clock, stored.model)
    coming = np.where(ahead.next_change_at == NEVER, 0, ahead.next_segment)
    differences = []
    for name, computed in (
        ("segment", ahead.segment), ("next_change_at", ahead.next_change_at), ("next_segment", coming)
    ):  # fmt: skip
        wrong = np.flatnonzero((states[name] != computed) & (states["alive"] == 1))[:_SHOWN]
        differences += [
            _difference(
                stored.ids[slot], name, _shown(name, states[name][slot]), _shown(name, computed[slot])
            )
            for slot in wrong.tolist()
        ]
    return differences


def _shown(field: str, value: Any) -> int | str | None:
    if field == "next_change_at":
        return None if value == NEVER else int(value)
    return SEGMENTS[value]


def _of_changes(stored: _Stored) -> list[Difference]:
    """Return customers whose latest change does not lead to the segment they are in."""
    n = len(stored.states)
    seq, after, at = np.zeros(n, np.int64), np.zeros(n, np.int64), np.full(n, NEVER)
    for slot, number, entered, moment in stored.changes:
        seq[slot], after[slot], at[slot] = number, entered, moment
    alive = stored.states["alive"] == 1
    differences = []
    for name, computed in (("last_change", seq), ("segment", after), ("segment_since", at)):
        had = stored.states[name]
        wrong = np.flatnonzero((had != computed) & alive)[:_SHOWN]
        differences += [
            _difference(stored.ids[slot], f"{name} by changes", int(had[slot]), int(computed[slot]))
            for slot in wrong.tolist()
        ]
    return differences


def _difference(customer: str | None, field: str, stored: Any, computed: Any) -> Difference:
    return {"customer": customer, "field": field, "stored": stored, "computed": computed}
