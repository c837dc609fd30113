"""The batch oracle: every customer's frequency, monetary and last purchase, computed from the file alone.

Written from the definitions of the design in plain SQL, with a plain stack in Python for the cancellations;
it shares no code with the engine, so that an error would have to be made twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dangol.bench.child import JobFailed
from dangol.view import View

__all__ = ["batch_states", "check", "densities", "relation"]

_RFM = ("last", "frequency", "monetary")
_NAMES = ("EventId", "InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID")

_LINES = """
CREATE TABLE lines AS
WITH typed AS (
    SELECT EventId AS event, trim(InvoiceNo) AS invoice, trim(StockCode) AS product,
        nullif(trim(CustomerID), '') AS customer, TRY_CAST(Quantity AS DOUBLE) AS quantity,
        TRY_CAST(UnitPrice AS DOUBLE) AS price, TRY_CAST(InvoiceDate AS TIMESTAMP) AS moment
    FROM {relation}
), once AS (SELECT {once} FROM typed)
SELECT event, customer, invoice, product, quantity::BIGINT AS quantity, moment,
    round(price * 1000000)::BIGINT AS price
FROM once
WHERE customer IS NOT NULL AND invoice <> '' AND product <> '' AND moment >= TIMESTAMP '1970-01-01'
    AND isfinite(quantity) AND quantity = floor(quantity) AND quantity <> 0 AND abs(quantity) <= 1000000000
    AND price > 0.0000005 AND price < 1000000000 AND abs(quantity * price) <= 1000000000
    AND starts_with(invoice, 'C') = (quantity < 0)
"""

_PAIRS = """
SELECT customer, product, invoice, quantity FROM lines
WHERE (customer, product) IN (SELECT (customer, product) FROM lines WHERE quantity < 0)
ORDER BY customer, product, moment, event
"""

_STATES = """
WITH invoices AS (
    SELECT customer, invoice, sum(quantity) AS bought, max(moment) AS moment FROM lines WHERE quantity > 0
    GROUP BY customer, invoice
), live AS (
    SELECT customer, count(*) AS frequency, max(moment) AS last
    FROM invoices LEFT JOIN cancelled USING (customer, invoice) WHERE bought > coalesce(cancelled.quantity, 0)
    GROUP BY customer
), money AS (SELECT customer, sum(quantity::HUGEINT * price) AS monetary FROM lines GROUP BY customer)
SELECT customer, coalesce(frequency, 0)::BIGINT AS frequency, monetary::BIGINT AS monetary,
    epoch_us(last) AS last
FROM money LEFT JOIN live USING (customer) ORDER BY customer
"""


def relation(file: Path) -> str:
    """Return how SQL names the lines of a parquet or NDJSON file, all columns as text."""
    name = str(file).replace("'", "''")
    if file.suffix != ".parquet":
        columns = ", ".join(f"'{column}': 'VARCHAR'" for column in _NAMES)
        return f"read_json('{name}', format='newline_delimited', ignore_errors=true, columns={{{columns}}})"
    present = [row[0] for row in duckdb.sql(f"DESCRIBE SELECT * FROM '{name}'").fetchall()]
    texts = [f"{column}::VARCHAR AS {column}" for column in _NAMES if column in present]
    if "EventId" not in present:
        texts.append("lpad(file_row_number::VARCHAR, 12, '0') AS EventId")
    return f"(SELECT {', '.join(texts)} FROM read_parquet('{name}', file_row_number=true))"


def batch_states(file: Path) -> pa.Table:
    """Return customer, frequency, monetary (millionths) and last (microseconds or null), by customer."""
    with duckdb.connect() as database:
        brings_ids = "file_row_number::" not in (source := relation(file))
        once = "DISTINCT ON (event) *" if brings_ids else "*"
        database.execute(_LINES.format(relation=source, once=once))
        cancelled = _cancelled(database.execute(_PAIRS))
        keys = list(cancelled)
        table = pa.table(
            {
                "customer": pa.array([customer for customer, _ in keys], pa.string()),
                "invoice": pa.array([invoice for _, invoice in keys], pa.string()),
                "quantity": pa.array([cancelled[key] for key in keys], pa.int64()),
            }
        )
        database.register("cancelled", table)
        return database.sql(_STATES).to_arrow_table()


def _cancelled(found: Any) -> dict[tuple[str, str], int]:
    """Take each cancellation from the latest earlier purchases; return the units lost by invoice."""
    lost: dict[tuple[str, str], int] = {}
    pair: tuple[str, str] | None = None
    stack: list[list[Any]] = []
    while rows := found.fetchmany(10_000):
        for customer, product, invoice, quantity in rows:
            if (customer, product) != pair:
                pair, stack = (customer, product), []
            if quantity > 0:
                stack.append([invoice, quantity])
            while quantity < 0 and stack:
                taken = min(-quantity, stack[-1][1])
                key = (customer, stack[-1][0])
                lost[key] = lost.get(key, 0) + taken
                quantity += taken
                stack[-1][1] -= taken
                if not stack[-1][1]:
                    stack.pop()
    return lost


def check(file: str, folder: str) -> dict[str, Any]:
    """Compare the states in a data folder with the oracle's on the file they came from; raises JobFailed."""
    expected = batch_states(Path(file))
    view = View.open(Path(folder))
    try:
        found = view.export().sort_by("customer")
        card, as_of = view.model(), view.as_of
    finally:
        view.close()
    if found["customer"].to_pylist() != expected["customer"].to_pylist():
        message = f"{len(found)} customers have a state, the batch oracle says {len(expected)}"
        raise JobFailed(message)
    own = {
        "frequency": found["frequency"].to_numpy(),
        "monetary": np.rint(found["monetary"].to_numpy() * 1e6).astype(np.int64),
        "last": found["last_purchase_at"].cast(pa.int64()).fill_null(-1).to_numpy(),
    }
    for name, values in own.items():
        differs = np.flatnonzero(values != expected[name].fill_null(-1).to_numpy())
        if len(differs):
            who = found["customer"][int(differs[0])].as_py()
            message = f"{name} of {len(differs)} customers differs from the batch oracle, first of {who}"
            raise JobFailed(message)
    _check_segments(found, own, card, as_of or 0)
    return {"customers": len(found)}


def _check_segments(
    found: pa.Table, own: dict[str, NDArray[np.int64]], card: dict[str, Any], as_of: int
) -> None:
    live = own["frequency"] > 0
    names, scores = densities(card, [own[name][live] for name in _RFM], as_of)
    best = scores.argmax(axis=1)
    ordered = np.sort(scores, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] > 1e-9
    told = np.array(found["segment"].to_pylist(), np.object_)[live]
    wrong = int(((np.array(names, np.object_)[best] != told) & clear).sum())
    if wrong:
        message = f"the segment of {wrong} customers differs from the batch oracle"
        raise JobFailed(message)


def densities(
    card: dict[str, Any], rfm: Sequence[NDArray[np.int64]], as_of: int
) -> tuple[list[str], NDArray[np.float64]]:
    """Return the segments' names and each customer's weighted log-densities, by the text-book formula.

    `rfm` are three arrays: last purchase (microseconds), frequency, monetary (millionths).
    """
    last, frequency, monetary = rfm
    days = np.maximum(as_of - last, 0) // 1000 / 86_400_000
    money = np.maximum(monetary / 1e6, card["features"]["monetary_floor"])
    rows = np.stack([np.log1p(days), np.log(frequency), np.log(money)], axis=1)
    names = list(card["groups"])
    scores = np.empty((len(rows), len(names)))
    for column, group in enumerate(card["groups"].values()):
        covariance = np.array(group["covariance"])
        off = rows - np.array(group["mean"])
        distance = np.einsum("ni,ij,nj->n", off, np.linalg.inv(covariance), off)
        constant = math.log(group["weight"]) - 0.5 * math.log(np.linalg.det(covariance))
        scores[:, column] = constant - 0.5 * distance
    return names, scores
