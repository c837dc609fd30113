"""Consistent reads of what is committed, in the engine's process or any other, beside a writer or without one."""

from __future__ import annotations

import json
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dangol import records
from dangol.adapters.line_log import LineLog
from dangol.adapters.local_read import connect_reader, read_states
from dangol.core.decay import Outlook, outlook
from dangol.core.features import Rfm
from dangol.core.fold import empty_states
from dangol.core.model_card import Model, from_json
from dangol.core.schema import MICROS, NEVER, SEGMENTS, STATE, Int64, States
from dangol.core.score import score_rfm
from dangol.errors import FolderDamaged, UnknownCustomer, UsageError
from dangol.memory import settle
from dangol.render import EXPORT, SEGMENT_NAMES, iso, rounded, segment_place
from dangol.status import segment_totals

__all__ = ["View"]

_DAY = 86_400 * MICROS
_TRIES = 10


class View:
    """Made by `View.open`; every call sees the newest commit. Safe for use by several threads."""

    def __init__(self, folder: Path, database: sqlite3.Connection) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._forget(database)

    def _forget(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._log = LineLog(self._folder / "lines.arrows", writer=False)
        self._seq = -1
        self._states = empty_states(0)
        self._model: Model | None = None
        self._counters: dict[str, Any] = {}
        self._clock = NEVER

    @classmethod
    def open(cls, folder: Path) -> View:
        """Open the data of `folder`; raises NotFound, FolderTooNew, FolderDamaged."""
        settle()
        return cls(folder, connect_reader(folder))

    def close(self) -> None:
        """Let go of the folder."""
        with self._lock:
            self._database.close()
            self._log.close()

    def reopen(self) -> None:
        """Forget everything read so far, as after an erase."""
        with self._lock:
            self.close()
            self._forget(connect_reader(self._folder))

    def refresh(self) -> None:
        """Take in what was committed since the last look."""
        with self._lock:
            for tries_left in reversed(range(_TRIES)):
                if self._read_at_once(must=not tries_left):
                    return

    def _read_at_once(self, *, must: bool) -> bool:
        """Read in one transaction; False if the writer replaced the snapshot between our looks at it."""
        self._database.execute("BEGIN")
        try:
            self._read()
        except FolderDamaged:
            if must:
                raise
            return False
        finally:
            self._database.execute("COMMIT")
        return True

    def _read(self) -> None:
        database = self._database
        last = database.execute(
            "SELECT seq, clock, counters FROM commits ORDER BY seq DESC LIMIT 1"
        ).fetchone()
        if last is None or last[0] == self._seq:
            return self._read_model() if self._model is None else None
        meta = dict(database.execute("SELECT key, value FROM meta WHERE key = 'snapshot_seq'"))
        if self._seq < int(meta["snapshot_seq"]) or self._seq < 0:
            self._states, _ = read_states(database, self._folder)
        else:
            self._apply_deltas()
        self._seq, self._clock = int(last[0]), int(last[1])
        self._counters = json.loads(last[2])
        self._read_model()
        return None

    def _apply_deltas(self) -> None:
        rows = self._database.execute(
            "SELECT slots, states FROM deltas WHERE seq > ? ORDER BY seq", (self._seq,)
        )
        for slot_bytes, state_bytes in rows:
            slots, states = np.frombuffer(slot_bytes, np.int64), np.frombuffer(state_bytes, STATE)
            missing = int(slots.max()) + 1 - len(self._states)
            if missing > 0:
                self._states = np.concatenate([self._states, empty_states(missing)])
            self._states[slots] = states

    def _read_model(self) -> None:
        row = self._database.execute("SELECT version, card FROM models WHERE status = 'live'").fetchone()
        if row and (self._model is None or self._model.version != row[0]):
            self._model = replace(from_json(row[1]), version=row[0])

    def _model_now(self) -> Model:
        assert self._model is not None
        return self._model

    @property
    def as_of(self) -> int | None:
        """The engine's clock at the newest commit, or None before the first."""
        self.refresh()
        return None if self._clock == NEVER else self._clock

    def counters(self) -> dict[str, Any]:
        """Return events, accepted, anonymous, rejected by reason, duplicates, customers and cancellations."""
        with self._lock:
            self.refresh()
            alive = self._states[self._states["alive"] == 1]
            empty = {"events": 0, "accepted": 0, "anonymous": 0, "rejected": {}, "duplicates": 0}
            kinds = ("matched", "partly", "unmatched")
            return {
                **empty,
                **self._counters,
                "customers": len(alive),
                "live_customers": int((alive["frequency"] > 0).sum()),
                "cancellations": {kind: int(alive[f"cancels_{kind}"].sum()) for kind in kinds},
                "as_of": iso(self._clock),
            }

    def customer(self, id: str) -> dict[str, Any]:
        """Return all that is known of one customer now; raises UnknownCustomer."""
        with self._lock:
            self.refresh()
            row = self._database.execute("SELECT slot FROM customers WHERE id = ?", (id,)).fetchone()
            if row is None or row[0] >= len(self._states) or not self._states["alive"][row[0]]:
                message = f"no customer has the id {id!r}"
                raise UnknownCustomer(message)
            slots = np.array([row[0]])
            found: dict[str, Any] = self._table(slots, None).to_pylist()[0]
            state = self._states[row[0]]
            kinds = ("matched", "partly", "unmatched")
            return _json_row(found) | {
                "segment_since": iso(int(state["segment_since"])),
                "first_line_at": iso(int(state["first_line_at"])),
                "last_line_at": iso(int(state["last_line_at"])),
                "lines": int(state["lines"]),
                "cancellations": {kind: int(state[f"cancels_{kind}"]) for kind in kinds},
                "as_of": iso(self._clock),
                "model": self._model_now().version,
            }

    def customers(
        self,
        *,
        segment: str | None = None,
        as_of: int | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> dict[str, Any]:
        """Return a page of customers, in the order first seen; `next` is the cursor of the page behind it.

        With `as_of`, they are judged at that moment; UsageError if it lies before the clock.
        """
        with self._lock:
            self.refresh()
            self._check(as_of)
            begin = _cursor(after)
            slots = self._members(segment, as_of)
            page = slots[slots > begin][: limit + 1]
            rows = [_json_row(row) for row in self._table(page[:limit], as_of).to_pylist()]
            more = str(page[limit - 1]) if len(page) > limit else None
            return {"customers": rows, "next": more, "as_of": iso(self._moment(as_of))}

    def export(self, *, segment: str | None = None, as_of: int | None = None) -> pa.Table:
        """Return all customers (of a segment) with the columns of `dangol export customers`.

        With `as_of`, they are judged at that moment; UsageError if it lies before the clock.
        """
        with self._lock:
            self.refresh()
            self._check(as_of)
            return self._table(self._members(segment, as_of), as_of)

    def _check(self, as_of: int | None) -> None:
        """Refuse a moment in the past: what a customer had bought by then is not kept apart."""
        if as_of is not None and self._clock != NEVER and as_of < self._clock:
            now = iso(self._clock)
            message = (
                f"as-of {iso(as_of)} lies before the data's own time {now}: "
                f"states are kept as of now; name {now} or later"
            )
            raise UsageError(message)

    def _moment(self, as_of: int | None) -> int:
        return self._clock if as_of is None else as_of

    def _members(self, segment: str | None, as_of: int | None) -> Int64:
        """Return the slots of the customers in a segment (any if None), in order."""
        alive = self._states["alive"] == 1
        if segment is not None:
            place = segment_place(segment)
            alive &= self._ahead(np.arange(len(self._states)), as_of).segment == place
        return np.flatnonzero(alive)

    def _ahead(self, slots: Int64, as_of: int | None) -> Outlook:
        """Return segment and next change: as stored, or judged anew for another moment."""
        states = self._states[slots]
        if as_of is None:
            return Outlook(
                segment=states["segment"],
                next_change_at=states["next_change_at"],
                next_segment=states["next_segment"],
            )
        return outlook(Rfm.of(states), as_of, self._model_now())

    def _table(self, slots: Int64, as_of: int | None) -> pa.Table:
        states, moment = self._states[slots], self._moment(as_of)
        bought = states["last_purchase_at"] != NEVER
        ahead = self._ahead(slots, as_of)
        p = score_rfm(Rfm.of(states), moment, self._model_now()).p
        recency = np.maximum(moment - np.where(bought, states["last_purchase_at"], moment), 0) / _DAY
        turns = ahead.next_change_at != NEVER
        names = np.array(SEGMENTS, np.object_)
        columns = [
            pa.array(self._names("customers", "slot", "id", slots), pa.string()),
            pa.array(recency, mask=~bought),
            pa.array(states["frequency"]),
            pa.array(states["monetary"] / MICROS),
            pa.array(states["last_purchase_at"], pa.timestamp("us", tz="UTC"), mask=~bought),
            pa.array(names[ahead.segment], pa.string()),
            *(pa.array(np.ascontiguousarray(p[:, k])) for k in range(4)),
            pa.array(ahead.next_change_at, pa.timestamp("us", tz="UTC"), mask=~turns),
            pa.array(names[ahead.next_segment], pa.string(), mask=~turns),
            pa.array(self._countries(states), pa.string()),
        ]
        return pa.Table.from_arrays(columns, schema=EXPORT)

    def _countries(self, states: States) -> list[str | None]:
        known = [row[0] for row in self._database.execute("SELECT name FROM countries ORDER BY number")]
        names = np.array([*known, None], np.object_)
        found: list[str | None] = names[states["country"]].tolist()
        return found

    def _names(self, table: str, key: str, column: str, wanted: Int64) -> list[str | None]:
        """Return the texts of these numbers, in their order."""
        if len(wanted) > 5000:
            rows = self._database.execute(f"SELECT {column} FROM {table} ORDER BY {key}")
            everything = np.array([row[0] for row in rows], np.object_)
            texts: list[str | None] = everything[wanted].tolist()
            return texts
        found: dict[int, str | None] = {}
        numbers = wanted.tolist()
        for begin in range(0, len(numbers), 500):
            part = numbers[begin : begin + 500]
            marks = ", ".join("?" * len(part))
            found |= dict(
                self._database.execute(f"SELECT {key}, {column} FROM {table} WHERE {key} IN ({marks})", part)
            )
        return [found[number] for number in numbers]

    def segments(self) -> list[dict[str, Any]]:
        """Return size, money and the median customer of each segment, as of the newest commit."""
        with self._lock:
            self.refresh()
            states = self._states[self._states["alive"] == 1]
            totals = segment_totals(states)
        people = sum(total["count"] for total in totals.values())
        money = sum(total["monetary"] for total in totals.values())
        return [
            {
                "segment": name,
                "name_ko": SEGMENT_NAMES[name][0],
                "name_en": SEGMENT_NAMES[name][1],
                "customers": total["count"],
                "share": rounded(total["count"] / people) if people else 0.0,
                "monetary": total["monetary"],
                "monetary_share": rounded(total["monetary"] / money) if money else 0.0,
                **self._medians(states[states["segment"] == place]),
            }
            for place, (name, total) in enumerate(totals.items())
        ]

    def _medians(self, states: States) -> dict[str, float | None]:
        bought = states[states["last_purchase_at"] != NEVER]
        if not len(bought):
            return {"recency_days_median": None, "frequency_median": None, "monetary_median": None}
        return {
            "recency_days_median": rounded(float(np.median(self._clock - bought["last_purchase_at"])) / _DAY),
            "frequency_median": float(np.median(bought["frequency"])),
            "monetary_median": rounded(float(np.median(bought["monetary"])) / MICROS),
        }

    def changes(
        self, *, after: int = 0, limit: int = 100, customer: str | None = None
    ) -> list[dict[str, Any]]:
        """Return segment changes behind the cursor `after` (a `seq`), oldest first."""
        with self._lock:
            return records.changes(self._database, self._log, after=after, limit=limit, customer=customer)

    def last_change(self) -> int:
        """Return the `seq` of the newest change, 0 before the first."""
        with self._lock:
            return int(self._database.execute("SELECT coalesce(max(seq), 0) FROM changes").fetchone()[0])

    def rejects(self, *, after: int = 0, limit: int = 100, reason: str | None = None) -> list[dict[str, Any]]:
        """Return rejected lines behind the cursor `after` (a `seq`), oldest first."""
        with self._lock:
            return records.rejects(self._database, after=after, limit=limit, reason=reason)

    def models(self) -> list[dict[str, Any]]:
        """Return all models, newest first: version, status and when it was made."""
        with self._lock:
            return records.models(self._database)

    def model(self, version: int | None = None) -> dict[str, Any]:
        """Return the card of a model (the live one if no version is named); raises NotFound."""
        with self._lock:
            return records.model(self._database, version)


def _cursor(after: str | None) -> int:
    if after is None:
        return -1
    try:
        return int(after)
    except ValueError as cause:
        message = f"{after!r} is not a cursor: pass the `next` of the page before"
        raise UsageError(message) from cause


def _json_row(row: dict[str, Any]) -> dict[str, Any]:
    moments = ("last_purchase_at", "next_change_at")
    return {
        name: iso(value) if name in moments else rounded(value, 6) if isinstance(value, float) else value
        for name, value in row.items()
    }
