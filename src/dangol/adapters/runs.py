"""An index of fixed-width rows: new rows in memory, older ones in sorted, immutable files.

A log-structured merge tree (O'Neil et al., 1996) cut down to what dangol needs: rows are `width` words
of 64 bits, the first word is the key, many rows may share a key, and rows are never changed. Memory holds
the newest rows and, for each file, a Bloom filter (12 bits a row) and one key in 128; the rest is mapped
from disk. Files are written whole and synced before a transaction names them, so a crash leaves at most
an unnamed file, which the next start deletes.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dangol.adapters import runs_kernel as kernel
from dangol.adapters.durable import sync_file
from dangol.core.identity import UInt64
from dangol.core.schema import Int64
from dangol.errors import FolderDamaged

__all__ = ["FANOUT", "RunFile", "RunIndex", "merge_runs"]

FANOUT = 8
"""So many runs of one level are merged into one of the next."""

_MAGIC = 0x316E75726C676E64  # "dnglrun1" as little-endian bytes, nearly
_HEADER_WORDS = 8
_MERGE_ROWS = 1 << 18
Rows = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFile:
    """A sorted file of rows, as the database names it."""

    name: str
    level: int
    rows: int


class _Run:
    """An opened run: its rows mapped, its fences and Bloom filter in memory."""

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
            words = np.frombuffer(self._map, np.uint64)
        except (OSError, ValueError) as cause:
            message = f"index file {path.name} cannot be read ({cause}): restore the data folder from a copy"
            raise FolderDamaged(message) from cause
        header = np.zeros(5, np.uint64) if len(words) < _HEADER_WORDS else words[:5]
        magic, width, rows, fences, bloom = (int(word) for word in header)
        if magic != _MAGIC or len(words) != _HEADER_WORDS + rows * width + fences + bloom:
            message = f"index file {path.name} is cut short or foreign: restore the data folder from a copy"
            raise FolderDamaged(message)
        end = _HEADER_WORDS + rows * width
        self.rows: Rows = words[_HEADER_WORDS:end].reshape(rows, width)
        self.fences: UInt64 = np.array(words[end : end + fences])
        self.bloom: UInt64 = np.array(words[end + fences :])
        self.release()

    def places(self, keys: UInt64) -> Int64:
        """Return for each key the place of the first row whose key is not below it."""
        places: Int64 = kernel.first_places(keys, self.rows, self.fences)
        return places

    def release(self) -> None:
        """Give back the memory of the pages that were read; the system may keep them cached."""
        self._map.madvise(mmap.MADV_DONTNEED)


class RunIndex:
    """Rows of `width` words found by their first word; see the module.

    Not safe for use by two threads at once.
    """

    def __init__(self, folder: Path, name: str, *, width: int, capacity: int = 1 << 18) -> None:
        self._folder = folder
        self._name = name
        self._width = width
        self._capacity = capacity
        self._runs: dict[str, _Run] = {}
        self._files: list[RunFile] = []
        self._clear()

    def _clear(self) -> None:
        self._memory: Rows = np.empty((self._capacity, self._width), np.uint64)
        self._heads = np.full(1 << (self._capacity - 1).bit_length(), -1, np.int32)
        self._previous = np.empty(self._capacity, np.int32)
        self._count = 0

    @property
    def files(self) -> tuple[RunFile, ...]:
        """The attached runs, oldest first."""
        return tuple(self._files)

    @property
    def in_memory(self) -> int:
        """How many rows are in memory alone."""
        return self._count

    def find(self, keys: UInt64) -> tuple[NDArray[np.int64], Rows]:
        """Return (place in `keys`, row) of each row whose key is one of `keys` [n]; no order is promised."""
        found = [kernel.find_in_memory(keys, self._memory, self._heads, self._previous)]
        if self._runs:
            spread, bits = np.empty_like(keys), np.empty_like(keys)
            kernel.bloom_bits(keys, spread, bits)
            runs = self._runs.values()
            found += [kernel.find_in_run(keys, spread, bits, run.rows, run.fences, run.bloom) for run in runs]
        places = [part for part in found if len(part[0])]
        if not places:
            return np.empty(0, np.int64), np.empty((0, self._width), np.uint64)
        return np.concatenate([p for p, _ in places]), np.concatenate([r for _, r in places])

    def scan(self, starts: UInt64, ends: UInt64) -> Rows:
        """Return all rows whose key lies in one of the ranges [start, end); ranges are sorted and apart."""
        memory = self._memory[: self._count]
        parts = [memory[_within(memory[:, 0], starts, ends)]]
        for run in self._runs.values():
            bounds = zip(run.places(starts), run.places(ends), strict=True)
            parts += [run.rows[low:high] for low, high in bounds if high > low]
        return np.concatenate(parts)

    def add(self, rows: Rows) -> None:
        """Keep `rows` [n, width] in memory; the caller flushes before memory has outgrown its use."""
        n = len(rows)
        while self._count + n > self._capacity:
            self._grow()
        self._memory[self._count : self._count + n] = rows
        kernel.chain(self._memory, self._count, self._count + n, self._heads, self._previous)
        self._count += n

    def _grow(self) -> None:
        held, count = self._memory, self._count
        self._capacity *= 2
        self._clear()
        self._memory[:count] = held[:count]
        kernel.chain(self._memory, 0, count, self._heads, self._previous)
        self._count = count

    def write(self, sequence: int) -> RunFile | None:
        """Write the rows in memory to a new, synced run (None if there are none); memory stays as it is."""
        if not self._count:
            return None
        memory = self._memory[: self._count]
        name = f"{self._name}-{sequence:012d}-0.run"
        with _Writer(self._folder / name, self._width, self._count) as writer:
            writer.append(_sorted(memory))
        return RunFile(name=name, level=0, rows=self._count)

    def forget_memory(self) -> None:
        """Drop the rows in memory, once a committed transaction names the run that holds them."""
        self._heads.fill(-1)
        self._count = 0

    def attach(self, files: Sequence[RunFile]) -> None:
        """Make `files` the runs that are searched: open the new ones and let go of the others."""
        opened = {file.name: self._runs.get(file.name) or _Run(self._folder / file.name) for file in files}
        self._runs = opened
        self._files = list(files)

    def release(self) -> None:
        """Give back the memory of the pages of runs that were read."""
        for run in self._runs.values():
            run.release()

    def mergeable(self) -> tuple[RunFile, ...]:
        """Return the oldest FANOUT runs of a level that has so many, or nothing."""
        for level in sorted({file.level for file in self._files}):
            same = [file for file in self._files if file.level == level]
            if len(same) >= FANOUT:
                return tuple(same[:FANOUT])
        return ()


def _within(keys: UInt64, starts: UInt64, ends: UInt64) -> NDArray[np.bool_]:
    place = np.searchsorted(starts, keys, side="right") - 1
    inside: NDArray[np.bool_] = (place >= 0) & (keys < ends[np.maximum(place, 0)])
    return inside


def merge_runs(folder: Path, files: Sequence[RunFile]) -> RunFile:
    """Write one synced run with all rows of `files`; memory stays bounded whatever their size.

    Touches nothing else, so it may run beside the engine's thread.
    """
    runs = [_Run(folder / file.name) for file in files]
    level = max(file.level for file in files) + 1
    stem = files[-1].name.rsplit("-", 1)[0]
    name = f"{stem}-{level}.run"
    total = sum(file.rows for file in files)
    begins = [0] * len(runs)
    with _Writer(folder / name, runs[0].rows.shape[1], total) as writer:
        for bound in _split_keys(runs, total):
            ends = [len(run.rows) if bound is None else int(run.places(np.array([bound]))[0]) for run in runs]
            part = np.concatenate(
                [run.rows[low:high] for run, low, high in zip(runs, begins, ends, strict=True)]
            )
            writer.append(_sorted(part))
            begins = ends
            for run in runs:
                run.release()
    return RunFile(name=name, level=level, rows=total)


def _split_keys(runs: Sequence[_Run], total: int) -> list[np.uint64 | None]:
    """Return the keys that cut all runs into slices of about _MERGE_ROWS rows, then None for the rest."""
    fences = np.sort(np.concatenate([run.fences for run in runs]))
    step = max(1, _MERGE_ROWS // kernel.FENCE)
    return [*np.unique(fences[step::step]), None] if total > _MERGE_ROWS else [None]


def _sorted(rows: Rows) -> Rows:
    """Return rows in order of key; rows of one key in any order."""
    ordered: Rows = kernel.gather(rows, np.argsort(np.ascontiguousarray(rows[:, 0])))
    return ordered


class _Writer:
    """Writes a run front to back, in slices sorted by key, and syncs it."""

    def __init__(self, path: Path, width: int, rows: int) -> None:
        self._path = path
        self._file = path.open("wb", buffering=0)
        self._fences: list[UInt64] = []
        self._bloom = np.zeros(max(1, rows * 12 // 64), np.uint64)
        self._written = 0
        self._width, self._rows = width, rows
        self._write(np.zeros(_HEADER_WORDS, np.uint64))

    def append(self, rows: Rows) -> None:
        """Write `rows`, whose keys are in order and not below those before them."""
        self._write(rows)
        keys = np.ascontiguousarray(rows[:, 0])
        kernel.add_to_bloom(keys, self._bloom)
        self._fences.append(keys[-self._written % kernel.FENCE :: kernel.FENCE])
        self._written += len(rows)

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._file:
            if kind is None:
                self._finish()

    def _finish(self) -> None:
        """Write what is searched in memory and the header, and sync all of it."""
        fences = np.concatenate(self._fences)
        self._write(fences)
        self._write(self._bloom)
        header = np.zeros(_HEADER_WORDS, np.uint64)
        header[:5] = (_MAGIC, self._width, self._rows, len(fences), len(self._bloom))
        self._file.seek(0)
        self._write(header)
        sync_file(self._file.fileno(), self._path)

    def _write(self, words: Rows) -> None:
        """Write all of it; a raw file may take only a part at a time, as before a disk is full."""
        left = memoryview(np.ascontiguousarray(words).data).cast("B")
        while len(left):
            left = left[self._file.write(left) :]
