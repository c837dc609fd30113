"""The embedded store: one folder with a SQLite database, the line log, index runs and a states snapshot.

A commit first appends its lines to the log and syncs it, then writes all else, the log's new length
included, in one SQLite transaction (WAL, synchronous FULL). What a crash leaves behind the committed
length is not part of the store. One process writes, holding a lock; any number read beside it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dangol.adapters.line_log import LineLog
from dangol.adapters.local_schema import FORMAT, TABLES
from dangol.adapters.runs import RunFile
from dangol.core.fold import empty_states
from dangol.core.identity import UInt64
from dangol.core.schema import STATE, Int64, States
from dangol.errors import FolderDamaged, FolderInUse, FolderTooNew, NotFound, StoreFailed

__all__ = ["ChangeRows", "Commit", "LocalStore", "Reject", "connect_reader", "read_states"]

_SNAPSHOT_FLOOR = 8 << 20


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


class LocalStore:
    """The writer's side of a data folder; raises `FolderInUse` if another process has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            (folder / "runs").mkdir(parents=True, exist_ok=True)
            self._lock = (folder / "lock").open("w")
        except OSError as cause:
            message = (
                f"the data folder {folder} cannot be written ({cause.strerror}): name another with --data"
            )
            raise StoreFailed(message) from cause
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as cause:
            self._lock.close()
            message = (
                f"another dangol process writes to {folder}: stop it, or name another folder with --data"
            )
            raise FolderInUse(message) from cause
        try:
            self._open()
        except BaseException:
            self._lock.close()
            raise

    def _open(self) -> None:
        self.database = _connect(self.folder / "dangol.db")
        if not self.database.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
            self._create()
        _check_format(self.database, self.folder)
        self.log = LineLog(self.folder / "lines.arrows", writer=True)
        self.recall()
        self.log.truncate(self.log_end)
        self._delta_bytes = self.database.execute("SELECT total(length(states)) FROM deltas").fetchone()[0]
        self._delete_orphans()
        if self.database.execute("SELECT 1 FROM meta WHERE key = 'scour'").fetchone():
            self.scour(read_states(self.database, self.folder)[0])

    def recall(self) -> None:
        """Take the number of the last commit and the log's length from the database.

        Needed after an interrupt too: it may come between a COMMIT and our knowing of it.
        """
        last = self.database.execute("SELECT seq, log_end FROM commits ORDER BY seq DESC LIMIT 1").fetchone()
        self.seq: int = last[0] if last else 0
        self.log_end: int = last[1] if last else self.log.begin

    def _create(self) -> None:
        log = self.folder / "lines.arrows"
        if log.exists() and log.stat().st_size > 1 << 10:  # more than its schema
            message = f"{self.folder} has a {log.name} but no tables in dangol.db: restore the data folder from a copy"
            raise FolderDamaged(message)
        self.database.executescript("BEGIN;" + TABLES)
        rows = [
            ("format", FORMAT),
            ("hash_seed", secrets.randbits(62)),
            ("flushed_log", 0),
            ("flushed_reject", 0),
        ]
        self.database.executemany(
            "INSERT INTO meta VALUES (?, ?)", [*rows, ("snapshot", ""), ("snapshot_seq", 0)]
        )
        self.database.execute("COMMIT")

    def _delete_orphans(self) -> None:
        named = {name for (name,) in self.database.execute("SELECT name FROM runs")}
        for path in (self.folder / "runs").iterdir():
            if path.name not in named:
                path.unlink()
        for path in self.folder.glob("states-*.bin"):
            if path.name != self.meta("snapshot"):
                path.unlink()

    def meta(self, key: str) -> Any:
        """Return one value of the table `meta`."""
        return self.database.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()[0]

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run a block in one synced transaction; whatever fails leaves everything as it was."""
        try:
            self.database.execute("BEGIN IMMEDIATE")
            yield self.database
            self.database.execute("COMMIT")
        except (sqlite3.Error, OSError) as cause:
            self._roll_back()
            message = f"the data folder {self.folder} refused a commit ({cause}): make room or check the disk; nothing was acknowledged"
            raise StoreFailed(message) from cause
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self.database.execute("ROLLBACK")

    def commit(self, batch: Commit, *, also: Callable[[sqlite3.Connection], None] | None = None) -> int:
        """Make `batch`, and what `also` does, durable, all of it or nothing, and return its sequence number."""
        seq, log_end = self.seq + 1, self.log_end
        with self.transaction() as database:
            if batch.lines is not None:
                log_end = self.log.append(batch.lines, log_end)
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
            if also is not None:
                also(database)
        self.seq, self.log_end = seq, log_end
        self._delta_bytes += batch.states.nbytes
        return seq

    def positions(self) -> dict[str, str]:
        """Return the committed position of each source."""
        return dict(self.database.execute("SELECT source, position FROM positions"))

    def wants_snapshot(self, states: States) -> bool:
        """Tell whether the deltas have outgrown a snapshot, so that writing one is paid for by now."""
        return bool(self._delta_bytes > max(_SNAPSHOT_FLOOR, states.nbytes))

    def write_snapshot(self, states: States) -> None:
        """Write all `states` to a new, synced file and drop the deltas that it replaces."""
        name, old = f"states-{self.seq:012d}.bin", self.meta("snapshot")
        try:
            with (self.folder / name).open("wb") as file:
                states.tofile(file)
                file.flush()
                os.fsync(file.fileno())
        except OSError as cause:
            message = (
                f"the states snapshot {name} cannot be written ({cause.strerror}): make room on the disk"
            )
            raise StoreFailed(message) from cause
        with self.transaction() as database:
            database.execute("UPDATE meta SET value = ? WHERE key = 'snapshot'", (name,))
            database.execute("UPDATE meta SET value = ? WHERE key = 'snapshot_seq'", (self.seq,))
            database.execute("INSERT OR REPLACE INTO meta VALUES ('snapshot_rows', ?)", (len(states),))
            database.execute("DELETE FROM deltas WHERE seq <= ?", (self.seq,))
        self._delta_bytes = 0
        if old and old != name:
            (self.folder / old).unlink(missing_ok=True)

    def scour(self, states: States) -> None:
        """Leave no byte behind of what was deleted: a new snapshot, a new database file, an empty journal.

        A transaction that deletes sets `scour` in the table `meta`, so that the next start finishes this.
        """
        self.write_snapshot(states)
        try:
            self.database.execute("VACUUM")
            busy = self.database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.Error as cause:
            message = f"the database in {self.folder} cannot be written anew ({cause}): make room, then start again to finish"
            raise StoreFailed(message) from cause
        if not busy:
            with self.transaction() as database:
                database.execute("DELETE FROM meta WHERE key = 'scour'")

    def runs(self, kind: str) -> list[RunFile]:
        """Return the runs of one index, oldest first."""
        rows = self.database.execute(
            "SELECT name, level, rows FROM runs WHERE kind = ? ORDER BY place", (kind,)
        )
        return [RunFile(name=name, level=level, rows=n) for name, level, n in rows]

    def name_runs(self, runs: Mapping[str, Sequence[RunFile]], *, flushed: bool) -> None:
        """Make `runs` the runs of the indices named; `flushed`: they hold all that was committed so far."""
        with self.transaction() as database:
            for kind, files in runs.items():
                database.execute("DELETE FROM runs WHERE kind = ?", (kind,))
                database.executemany(
                    "INSERT INTO runs VALUES (?, ?, ?, ?, ?)",
                    [(file.name, kind, file.level, file.rows, place) for place, file in enumerate(files)],
                )
            if flushed:
                database.execute("UPDATE meta SET value = ? WHERE key = 'flushed_log'", (self.log_end,))
                database.execute(
                    "UPDATE meta SET value = (SELECT coalesce(max(seq), 0) FROM rejects) WHERE key = 'flushed_reject'"
                )
                database.execute("DELETE FROM invoice_tail")

    def close(self) -> None:
        """Let go of the folder."""
        self.log.close()
        self.database.close()
        self._lock.close()


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA cache_size = -16384")
    except sqlite3.DatabaseError as cause:
        message = f"{path} is not a dangol database ({cause}): name another folder with --data"
        raise FolderDamaged(message) from cause
    return database


def connect_reader(folder: Path) -> sqlite3.Connection:
    """Open the database of `folder` for reading, beside a writer or without one."""
    path = folder / "dangol.db"
    if not path.exists():
        message = f"there is no dangol data in {folder}: load some with `dangol load FILE`, or name a folder with --data"
        raise NotFound(message)
    database = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=30,
    )
    _check_format(database, folder)
    return database


def _check_format(database: sqlite3.Connection, folder: Path) -> None:
    try:
        found = database.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()[0]
    except (sqlite3.DatabaseError, TypeError) as cause:
        message = f"{folder}/dangol.db is not a dangol database ({cause}): name another folder with --data"
        raise FolderDamaged(message) from cause
    if found > FORMAT:
        message = (
            f"the data folder {folder} has format {found}, this version reads up to {FORMAT}: upgrade dangol"
        )
        raise FolderTooNew(message)


def read_states(database: sqlite3.Connection, folder: Path) -> tuple[States, int]:
    """Return the states as last committed, and the sequence number of that commit.

    The caller holds a read transaction, or is the only writer. Raises FolderDamaged for a snapshot that is
    gone: a reader beside a writer tries again, for a newer one may have replaced it meanwhile.
    """
    meta = dict(database.execute("SELECT key, value FROM meta"))
    count = database.execute("SELECT coalesce(max(slot), -1) + 1 FROM customers").fetchone()[0]
    states = empty_states(count)
    if meta["snapshot"]:
        snapshot = _read_snapshot(folder / meta["snapshot"], meta["snapshot_rows"])
        states[: len(snapshot)] = snapshot
    for slots, records in database.execute("SELECT slots, states FROM deltas ORDER BY seq"):
        states[np.frombuffer(slots, np.int64)] = np.frombuffer(records, STATE)
    last = database.execute("SELECT coalesce(max(seq), 0) FROM commits").fetchone()[0]
    return states, int(last)


def _read_snapshot(path: Path, rows: int) -> States:
    snapshot = np.fromfile(path, STATE) if path.exists() else empty_states(0)
    if len(snapshot) != rows:
        message = (
            f"the states snapshot {path.name} is missing or cut short: restore the data folder from a copy"
        )
        raise FolderDamaged(message)
    return snapshot


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
