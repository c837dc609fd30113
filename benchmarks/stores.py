"""Compare the embedded stores that could take a micro-batch: `python benchmarks/stores.py [FILE.parquet]`.

Each candidate commits the same batches of purchase lines, 2 KB of changed states and a position, durably
(synced) and all-or-nothing. Printed: lines a second and milliseconds a commit, for three batch sizes.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from dangol.adapters.line_log import STORED, LineLog

STATE = bytes(2048)
Step = Callable[[pa.RecordBatch, int], None]


def sqlite(folder: Path) -> sqlite3.Connection:
    database = sqlite3.connect(folder / "store.db", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE commits (seq INTEGER PRIMARY KEY, states BLOB, position TEXT)")
    return database


def sqlite_rows(folder: Path) -> Step:
    database = sqlite(folder)
    names = STORED.names
    database.execute(f"CREATE TABLE lines ({', '.join(names)})")
    insert = f"INSERT INTO lines VALUES ({', '.join('?' * len(names))})"

    def commit(batch: pa.RecordBatch, seq: int) -> None:
        database.execute("BEGIN")
        at = batch.column("at").cast(pa.int64())
        columns = [at if name == "at" else batch.column(name) for name in names]
        database.executemany(insert, zip(*(column.to_pylist() for column in columns), strict=True))
        database.execute("INSERT INTO commits VALUES (?, ?, ?)", (seq, STATE, str(seq)))
        database.execute("COMMIT")

    return commit


def sqlite_blob(folder: Path) -> Step:
    database = sqlite(folder)
    database.execute("CREATE TABLE lines (seq INTEGER PRIMARY KEY, batch BLOB)")

    def commit(batch: pa.RecordBatch, seq: int) -> None:
        database.execute("BEGIN")
        database.execute("INSERT INTO lines VALUES (?, ?)", (seq, memoryview(batch.serialize())))
        database.execute("INSERT INTO commits VALUES (?, ?, ?)", (seq, STATE, str(seq)))
        database.execute("COMMIT")

    return commit


def log_and_sqlite(folder: Path) -> Step:
    database = sqlite(folder)
    database.execute("CREATE TABLE ends (seq INTEGER PRIMARY KEY, log_end INTEGER)")
    log = LineLog(folder / "lines.arrows", writer=True)
    end = log.begin

    def commit(batch: pa.RecordBatch, seq: int) -> None:
        nonlocal end
        database.execute("BEGIN")
        end = log.append(batch, end)
        database.execute("INSERT INTO ends VALUES (?, ?)", (seq, end))
        database.execute("INSERT INTO commits VALUES (?, ?, ?)", (seq, STATE, str(seq)))
        database.execute("COMMIT")

    return commit


def duck(folder: Path) -> Step:
    database = duckdb.connect(str(folder / "store.duckdb"))
    database.execute("CREATE TABLE commits (seq BIGINT, states BLOB, position VARCHAR)")
    empty = STORED.empty_table()  # noqa: F841  (DuckDB finds it by name)
    database.execute("CREATE TABLE lines AS SELECT * FROM empty")

    def commit(batch: pa.RecordBatch, seq: int) -> None:
        fresh = pa.Table.from_batches([batch])  # noqa: F841
        database.execute("BEGIN")
        database.execute("INSERT INTO lines SELECT * FROM fresh")
        database.execute("INSERT INTO commits VALUES (?, ?, ?)", [seq, STATE, str(seq)])
        database.execute("COMMIT")

    return commit


def stored(path: Path) -> pa.RecordBatch:
    table = pq.read_table(path)
    n = len(table)
    ids = pa.array([f"{path.stem}-{i:09d}" for i in range(n)])
    text = {
        name: table[name].cast(pa.string())
        for name in ("InvoiceNo", "StockCode", "Description", "CustomerID", "Country")
    }
    columns = [ids, text["InvoiceNo"], text["StockCode"], text["Description"], table["Quantity"]]
    columns += [pa.array([2_550_000] * n), text["CustomerID"], text["Country"]]
    columns += [table["InvoiceDate"].cast(pa.timestamp("us", tz="UTC")), pa.array(range(n), pa.int64())]
    return pa.Table.from_arrays(columns, schema=STORED).combine_chunks().to_batches()[0]


def main() -> None:
    default = Path(__file__).resolve().parents[2] / "shared" / "data" / "online-retail.parquet"
    lines = stored(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
    print(f"{'store':16}{'lines a commit':>16}{'lines/s':>12}{'ms a commit':>14}")
    for name, make in (
        ("log + SQLite", log_and_sqlite),
        ("SQLite blob", sqlite_blob),
        ("SQLite rows", sqlite_rows),
        ("DuckDB", duck),
    ):
        for size in (10, 1_000, 20_000):
            folder = Path(tempfile.mkdtemp())
            commit = make(folder)
            commits = min(200, len(lines) // size)
            begin = time.perf_counter()
            for seq in range(commits):
                commit(lines.slice(seq * size, size), seq)
            seconds = time.perf_counter() - begin
            print(f"{name:16}{size:>16,}{commits * size / seconds:>12,.0f}{seconds / commits * 1000:>14.2f}")
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
