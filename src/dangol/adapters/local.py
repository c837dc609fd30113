"""The embedded store: one folder with a SQLite database, the line log, index runs and a states snapshot.

A commit first appends its lines to the log and syncs it, then writes all else, the log's new length
included, in one SQLite transaction (WAL, synchronous FULL). What a crash leaves behind the committed
length is not part of the store. One process writes, holding a lock; any number read beside it.
"""

from __future__ import annotations

import contextlib
import fcntl
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dangol.adapters.durable import sync_file, sync_folder
from dangol.adapters.line_log import LineLog
from dangol.adapters.local_commit import Commit, write_rows
from dangol.adapters.local_read import check_format, read_states
from dangol.adapters.local_schema import FORMAT, TABLES
from dangol.adapters.runs import RunFile
from dangol.core.schema import States
from dangol.errors import FolderDamaged, FolderInUse, StoreFailed

__all__ = ["LocalStore"]

_SNAPSHOT_FLOOR = 8 << 20


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
        check_format(self.database, self.folder)
        self.log = LineLog(self.folder / "lines.arrows", writer=True)
        self.recall()
        if not self.seq:
            sync_folder(self.folder)  # the names of the files that were just made
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
            message = (
                f"the data folder {self.folder} refused a commit ({cause}):"
                " make room or check the disk; nothing was acknowledged"
            )
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
            write_rows(database, seq, log_end, batch)
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
        return bool(self._delta_bytes > max(_SNAPSHOT_FLOOR, 2 * states.nbytes))

    def write_snapshot(self, states: States) -> None:
        """Write all `states` to a new, synced file and drop the deltas that it replaces."""
        name, old = f"states-{self.seq:012d}.bin", self.meta("snapshot")
        try:
            with (self.folder / name).open("wb") as file:
                states.tofile(file)
                file.flush()
                sync_file(file.fileno(), self.folder / name)
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
            message = (
                f"the database in {self.folder} cannot be written anew ({cause}):"
                " make room, then start again to finish"
            )
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
        database.execute("PRAGMA wal_autocheckpoint = 8192")  # 32 MB: states change often, copy them seldom
    except sqlite3.DatabaseError as cause:
        message = f"{path} is not a dangol database ({cause}): name another folder with --data"
        raise FolderDamaged(message) from cause
    return database
