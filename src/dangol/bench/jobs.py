"""What is measured, each job in a process of its own: dangol's own work, and the limits beside it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from dangol.bench.child import measured

__all__ = ["commit_micro", "copy_synced", "duckdb_once", "first_commit", "load", "score_micro", "sync_micro"]

_BLOCK = 32_768


def load(file: str, folder: str) -> dict[str, Any]:
    """Load the whole file as `dangol load` does, with everything on."""
    from dangol.adapters.files import open_source
    from dangol.config import load_settings
    from dangol.engine import open_engine
    from dangol.receipt import Receipt

    lines = 0

    def count(receipt: Receipt) -> None:
        nonlocal lines
        lines += receipt.events

    with open_engine(load_settings({"data": Path(folder)}, {})) as engine, measured() as usage:
        engine.load(open_source(Path(file)), on_commit=count)
    return usage.figures(lines)


def copy_synced(file: str, out: str) -> dict[str, Any]:
    """Do the least that a load must: pyarrow reads the parquet and writes its rows, synced block by block."""
    import pyarrow.parquet as pq

    lines = 0
    with measured() as usage, Path(out).open("wb", buffering=0) as target:
        for batch in pq.ParquetFile(file).iter_batches(_BLOCK):
            target.write(memoryview(batch.serialize()))
            os.fdatasync(target.fileno())
            lines += len(batch)
    return usage.figures(lines)


def duckdb_once(file: str, card: str) -> dict[str, Any]:
    """Run one DuckDB query over a whole NDJSON file, then the mixture's densities: the near limit."""
    import duckdb

    from dangol.bench.oracle import densities

    model = json.loads(card)
    path = file.replace("'", "''")
    types = {"InvoiceNo": "VARCHAR", "CustomerID": "VARCHAR", "InvoiceDate": "TIMESTAMP"}
    types |= {"Quantity": "BIGINT", "UnitPrice": "DOUBLE"}
    columns = ", ".join(f"'{column}': '{kind}'" for column, kind in types.items())
    query = f"""
        SELECT CustomerID, epoch_us(max(InvoiceDate) FILTER (Quantity > 0)) AS last,
            count(DISTINCT InvoiceNo) FILTER (Quantity > 0) AS frequency,
            sum(Quantity * round(UnitPrice * 1000000)::BIGINT)::BIGINT AS monetary, count(*) AS lines
        FROM read_json('{path}', format='newline_delimited', ignore_errors=true, columns={{{columns}}})
        WHERE CustomerID <> '' AND UnitPrice > 0 AND Quantity <> 0 AND InvoiceDate IS NOT NULL
            AND starts_with(InvoiceNo, 'C') = (Quantity < 0)
        GROUP BY CustomerID"""
    with duckdb.connect() as database, measured() as usage:
        found = database.sql(query).to_arrow_table()
        bought = found.filter(found["frequency"].to_numpy() > 0)
        last, frequency, monetary = (bought[name].to_numpy() for name in ("last", "frequency", "monetary"))
        _, scores = densities(model, [last, frequency, monetary], int(last.max()))
        segments = scores.argmax(axis=1)
    with Path(file).open("rb") as lines:
        count = sum(piece.count(b"\n") for piece in iter(lambda: lines.read(1 << 20), b""))
    sums = {"customers": len(found), "frequency": int(frequency.sum()), "monetary": int(monetary.sum())}
    return usage.figures(count) | sums | {"scored": len(segments)}


def first_commit(folder: str, line: str) -> dict[str, Any]:
    """Take one line in, in a fresh process: durable when this returns."""
    from dangol.adapters.ndjson import parse_ndjson
    from dangol.config import load_settings
    from dangol.engine import open_engine

    with open_engine(load_settings({"data": Path(folder)}, {})) as engine:
        receipt = engine.ingest(parse_ndjson(line.encode(), engine.rules.input_fields))
        return {"events": receipt.events, "at": time.time()}


def score_micro(customers: int) -> dict[str, Any]:
    """Score customers, and find when each changes next; nanoseconds of CPU a customer."""
    import numpy as np

    from dangol.core.decay import outlook
    from dangol.core.features import Rfm
    from dangol.core.model_card import starting_model
    from dangol.core.score import score_rfm

    random, model, now = np.random.default_rng(1), starting_model(), 1_700_000_000_000_000
    rfm = Rfm(
        now - random.integers(0, 400 * 86_400_000_000, customers),
        np.maximum(1, random.geometric(0.25, customers)).astype(np.int64),
        (random.lognormal(6.0, 1.3, customers) * 1e6).astype(np.int64),
    )
    score_rfm(rfm.take(np.arange(10)), now, model)
    with measured() as scoring:
        scores = score_rfm(rfm, now, model)
    with measured() as looking:
        ahead = outlook(rfm, now, model)
    agree = int((ahead.segment == scores.segment).sum())
    return {"score": scoring.figures(customers), "next_change": looking.figures(customers), "agree": agree}


def commit_micro(file: str, folder: str, lines: int, commits: int) -> dict[str, Any]:
    """Take in batches of so many lines one after the other; seconds of each, from bytes to durable."""
    from dangol.adapters.ndjson import parse_ndjson
    from dangol.config import load_settings
    from dangol.engine import open_engine

    seconds = []
    with open_engine(load_settings({"data": Path(folder)}, {})) as engine:
        for body in bodies_of(Path(file), lines, commits):
            begin = time.perf_counter()
            engine.ingest(parse_ndjson(body, engine.rules.input_fields))
            seconds.append(time.perf_counter() - begin)
    return {"seconds": seconds}


def sync_micro(file: str, out: str, lines: int, commits: int) -> dict[str, Any]:
    """Append the same bytes to a file and sync it: the limit of a commit."""
    seconds = []
    with Path(out).open("wb", buffering=0) as target:
        for body in bodies_of(Path(file), lines, commits):
            begin = time.perf_counter()
            target.write(body)
            os.fdatasync(target.fileno())
            seconds.append(time.perf_counter() - begin)
    return {"seconds": seconds}


def bodies_of(file: Path, lines: int, most: int) -> list[bytes]:
    """Cut the first lines of an NDJSON file into at most `most` bodies of so many lines."""
    bodies, held = [], []
    with file.open("rb") as source:
        for line in source:
            held.append(line)
            if len(held) == lines:
                bodies.append(b"".join(held))
                held = []
                if len(bodies) == most:
                    return bodies
    return [*bodies, b"".join(held)] if held else bodies
