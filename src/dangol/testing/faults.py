"""Faults on purpose: the process dies, or the disk is full, at any one of the calls that reach the disk.

The calls are those of the `os` module on the log and the index files, the creation and deletion of files,
and every statement sent to the database. They are counted; the fault comes at a number of one's choice.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dangol.adapters import local

__all__ = ["Crash", "DiskFull", "Faults", "Fuse", "installed"]

_OS_CALLS = ("pwrite", "fdatasync", "fsync", "ftruncate")
_PATH_CALLS = ("unlink", "write_bytes")
_DATABASE_CALLS = ("execute", "executemany", "executescript")
_READING = ("SELECT", "PRAGMA", "ROLLBACK", "BEGIN")


class Crash(BaseException):
    """The process died here; nothing that it would have done later happens."""


class Faults:
    """Counts the calls and lets them through; the base of the two kinds of fault."""

    def __init__(self) -> None:
        self.calls = 0
        self._lock = threading.Lock()

    def next_call(self) -> int:
        """Count one more call and return its number, from 0."""
        with self._lock:
            self.calls += 1
            return self.calls - 1

    def call(self, name: str, what: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Make one call, or let it fail."""
        self.next_call()
        return what(*arguments, **options)


class Fuse(Faults):
    """Dies at call number `at`: before it, or (with `after`) behind it; a write before it is torn in two."""

    def __init__(self, at: int, *, after: bool = False) -> None:
        super().__init__()
        self._at = at
        self._after = after
        self.blown = False

    def call(self, name: str, what: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Make one call, unless the process is dead by then."""
        number = self.next_call()
        if self.blown:
            raise Crash(name)
        if number != self._at:
            return what(*arguments, **options)
        self.blown = True
        if self._after:
            what(*arguments, **options)
        elif name == "pwrite":
            file, data, offset = arguments
            what(file, bytes(data)[: len(data) // 2], offset)
        raise Crash(name)


class DiskFull(Faults):
    """From call number `at` on, whatever takes room fails, until `full` is set to False."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at
        self.full = True
        self.hit = False

    def call(self, name: str, what: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Make one call, unless it needs room that is not there."""
        if self.next_call() < self._at or not self.full or not _takes_room(name, arguments):
            return what(*arguments, **options)
        self.hit = True
        if name in _DATABASE_CALLS:
            message = "database or disk is full"
            raise sqlite3.OperationalError(message)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _takes_room(name: str, arguments: tuple[Any, ...]) -> bool:
    if name in _DATABASE_CALLS:
        return not str(arguments[0]).lstrip().upper().startswith(_READING)
    return name not in ("unlink", "ftruncate")


class _Database:
    """A database connection whose statements may fail."""

    def __init__(self, connection: sqlite3.Connection, faults: Faults) -> None:
        self._connection = connection
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._connection, name)
        if name not in _DATABASE_CALLS:
            return found
        return lambda *arguments: self._faults.call(name, found, *arguments)


@contextmanager
def installed(faults: Faults) -> Iterator[Faults]:
    """Put `faults` under every store that is opened while the `with` block runs; for one thread's tests."""
    replaced: list[tuple[Any, str, Any]] = []
    for owner, names in ((os, _OS_CALLS), (Path, _PATH_CALLS)):
        replaced += [(owner, name, getattr(owner, name)) for name in names]
    connect = local._connect  # the one place where the writer's connection is made
    opened: list[sqlite3.Connection] = []

    def connect_faulty(path: Path) -> Any:
        opened.append(connect(path))
        return _Database(opened[-1], faults)

    try:
        for owner, name, function in replaced:
            setattr(owner, name, _through(faults, name, function))
        local._connect = connect_faulty
        yield faults
    finally:
        for owner, name, function in replaced:
            setattr(owner, name, function)
        local._connect = connect
        for connection in opened:
            connection.close()


def _through(faults: Faults, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        return faults.call(name, function, *arguments, **options)

    return call
