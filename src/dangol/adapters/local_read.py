"""Reads a data folder's database, beside the one process that writes it or without one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np

from dangol.adapters.local_schema import FORMAT
from dangol.core.fold import empty_states
from dangol.core.schema import STATE, States
from dangol.errors import FolderDamaged, FolderTooNew, NotFound

__all__ = ["check_format", "connect_reader", "read_states"]


def connect_reader(folder: Path) -> sqlite3.Connection:
    """Open the database of `folder` for reading, beside a writer or without one."""
    path = folder / "dangol.db"
    if not path.exists():
        message = (
            f"there is no dangol data in {folder}: load some with `dangol load FILE`,"
            " or name a folder with --data"
        )
        raise NotFound(message)
    database = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=30,
    )
    check_format(database, folder)
    return database


def check_format(database: sqlite3.Connection, folder: Path) -> None:
    """Raise FolderTooNew, or FolderDamaged for a file that is no database of dangol's."""
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
