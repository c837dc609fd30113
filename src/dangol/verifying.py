"""`dangol verify`: whether the stored states equal a plain batch computation over the stored lines (law 1).

The computation shares nothing with the fold: sums by SQL over the line log, and cancellations matched by a
list of open purchases for each pair of customer and product, in Python.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dangol.adapters.line_log import STORED, LineLog
from dangol.adapters.local import connect_reader, read_states
from dangol.core.features import Rfm
from dangol.core.fold import empty_states
from dangol.core.model_card import Model, from_json
from dangol.core.schema import NEVER, Int64, States
from dangol.core.score import score_rfm

__all__ = ["Verdict", "batch_states", "verify"]

COMPARED = (
    "lines", "monetary", "frequency", "last_purchase_at", "first_line_at", "last_line_at", "last_cancel_at",
    "cancels_matched", "cancels_partly", "cancels_unmatched", "country", "segment",
)  # fmt: skip
MOST_EXAMPLES = 20
ATTEMPTS = 3

SUMS = """
SELECT slot, count(*) AS lines, CAST(sum(quantity * unit_price) AS BIGINT) AS monetary,
  min(moment) AS first_line_at, max(moment) AS last_line_at,
  max(moment) FILTER (WHERE quantity < 0) AS last_cancel_at
FROM lines GROUP BY slot"""

COUNTRIES = """
SELECT slot, max(country) AS country
FROM lines JOIN (SELECT slot, max(moment) AS moment FROM lines GROUP BY slot) USING (slot, moment)
GROUP BY slot"""

PAIRS_IN_ORDER = """
SELECT slot, product, invoice, quantity FROM lines SEMI JOIN
  (SELECT DISTINCT slot, product FROM lines WHERE quantity < 0) USING (slot, product)
ORDER BY slot, product, moment, event_id"""

INVOICES = """
SELECT slot, count(*) AS frequency, max(moment) AS last_purchase_at FROM (
  SELECT slot, invoice, max(moment) AS moment, CAST(sum(quantity) AS BIGINT) AS bought
  FROM lines WHERE quantity > 0 GROUP BY slot, invoice)
LEFT JOIN taken USING (slot, invoice) WHERE bought > coalesce(quantity, 0) GROUP BY slot"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the comparison found: customers compared, those that differ, and some of the differences."""

    customers: int
    differences: int
    lines: int
    examples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether every state is what the batch computation makes of the lines."""
        return self.differences == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """One committed moment of a data folder."""

    states: States
    log_end: int
    clock: int
    model: Model
    names: list[str | None]
    countries: list[str]


def verify(folder: Path) -> Verdict:
    """Compare the states in `folder`, as last committed, with a batch computation; a writer may go on."""
    verdict = _verify_once(folder)
    for _ in range(ATTEMPTS - 1):
        if verdict.equal:
            break
        verdict = _verify_once(folder)  # an erase may have gone on beside the first look
    return verdict


def _verify_once(folder: Path) -> Verdict:
    stored = _read(folder)
    log = LineLog(folder / "lines.arrows", writer=False)
    try:
        batches = [batch for _, batch in log.batches(log.begin, stored.log_end)] if stored.log_end else []
        lines = pa.Table.from_batches(batches, STORED)
        computed = batch_states(lines, len(stored.states), stored.countries)
    finally:
        log.close()
    computed["segment"] = score_rfm(Rfm.of(computed), stored.clock, stored.model).segment
    return _compare(stored, computed, len(lines))


def _read(folder: Path) -> _Stored:
    """Read everything in one transaction; a snapshot may be replaced beside it, so try again."""
    for attempt in range(ATTEMPTS):
        database = connect_reader(folder)
        try:
            database.execute("BEGIN")
            states, _ = read_states(database, folder)
            last = database.execute("SELECT log_end, clock FROM commits ORDER BY seq DESC LIMIT 1").fetchone()
            card = database.execute("SELECT card FROM models WHERE status = 'live'").fetchone()[0]
            names = [row[0] for row in database.execute("SELECT id FROM customers ORDER BY slot")]
            countries = [row[0] for row in database.execute("SELECT name FROM countries ORDER BY number")]
        except FileNotFoundError:
            if attempt == ATTEMPTS - 1:
                raise
            continue
        finally:
            database.close()
        log_end, clock = (int(last[0]), int(last[1])) if last else (0, NEVER)
        return _Stored(
            states=states,
            log_end=log_end,
            clock=clock,
            model=from_json(card),
            names=names,
            countries=countries,
        )
    raise AssertionError


def batch_states(lines: pa.Table, customers: int, countries: list[str]) -> States:
    """Return the states (all but what the model gives) of customers 0 … from all their lines at once.

    - lines: the schema of the line log; lines without a customer have a slot below 0
    - countries: names by number
    """
    states = empty_states(customers)
    with duckdb.connect() as database:
        # What is asked below is exact in whole numbers, so time need not be a timestamp.
        whole = lines.set_column(STORED.get_field_index("at"), "moment", lines.column("at").cast(pa.int64()))
        database.register("stored_lines", whole)
        database.execute("CREATE VIEW lines AS SELECT * FROM stored_lines WHERE slot >= 0")
        _fill(states, database.execute(SUMS).fetchnumpy())
        database.register("taken", _taken(states, database))
        _fill(states, database.execute(INVOICES).fetchnumpy())
        numbers = {name: number for number, name in enumerate(countries)}
        for slot, country in database.execute(COUNTRIES).fetchall():
            states["country"][slot] = -1 if country is None else numbers[country]
    return states


def _fill(states: States, columns: Mapping[str, Any]) -> None:
    slots = np.asarray(columns["slot"])
    for name, values in columns.items():
        if name != "slot":
            states[name][slots] = np.ma.filled(values, NEVER)


def _taken(states: States, database: duckdb.DuckDBPyConnection) -> pa.Table:
    """Match cancellations: count them by kind, and return the quantity taken from each purchase invoice."""
    taken: dict[tuple[int, str], int] = {}
    pair: tuple[int, str] | None = None
    open_purchases: list[list[Any]] = []  # invoice, quantity left; the latest last
    for slot, product, invoice, quantity in _rows(database):
        if (slot, product) != pair:
            pair, open_purchases = (slot, product), []
        if quantity > 0:
            open_purchases.append([invoice, quantity])
            continue
        wanted = -quantity
        while wanted and open_purchases:
            latest = open_purchases[-1]
            part = min(wanted, latest[1])
            taken[slot, latest[0]] = taken.get((slot, latest[0]), 0) + part
            wanted -= part
            latest[1] -= part
            if not latest[1]:
                open_purchases.pop()
        kind = "matched" if not wanted else "unmatched" if wanted == -quantity else "partly"
        states[f"cancels_{kind}"][slot] += 1
    columns = {
        "slot": pa.array([slot for slot, _ in taken], pa.int64()),
        "invoice": pa.array([invoice for _, invoice in taken], pa.string()),
        "quantity": pa.array(list(taken.values()), pa.int64()),
    }
    return pa.table(columns)


def _rows(database: duckdb.DuckDBPyConnection) -> Iterator[tuple[int, str, str, int]]:
    found = database.execute(PAIRS_IN_ORDER)
    while rows := found.fetchmany(10_000):
        yield from cast("list[tuple[int, str, str, int]]", rows)


def _compare(stored: _Stored, computed: States, lines: int) -> Verdict:
    slots = np.flatnonzero(stored.states["alive"] == 1)
    differs = np.zeros(len(stored.states), np.bool_)
    examples: list[dict[str, Any]] = []
    for name in COMPARED:
        unequal = _unequal(stored.states[name], computed[name], slots)
        differs[unequal] = True
        for slot in unequal[: MOST_EXAMPLES - len(examples)].tolist():
            found, expected = int(stored.states[name][slot]), int(computed[name][slot])
            examples.append(
                {"customer": stored.names[slot], "field": name, "stored": found, "computed": expected}
            )
    return Verdict(customers=len(slots), differences=int(differs.sum()), lines=lines, examples=examples)


def _unequal(found: NDArray[Any], expected: NDArray[Any], slots: Int64) -> Int64:
    unequal: Int64 = slots[found[slots] != expected[slots]]
    return unequal
