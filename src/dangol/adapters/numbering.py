"""Numbers texts (customers, products, countries) 0, 1, 2 … in the order in which they are first seen."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numba import njit, types

from dangol.core.identity import text_view
from dangol.core.schema import Int64

__all__ = ["Numbering"]

_TEXT = types.Array(types.uint8, 1, "C", readonly=True)
_OFFSETS = types.Array(types.int32, 1, "C", readonly=True)
_HASHES = types.Array(types.uint64, 1, "C", readonly=True)
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_VALID = types.Array(types.boolean, 1, "C", readonly=True)


class Numbering:
    """An exact, append-only map from text to number, about 40 bytes and the text for each entry."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._count = 0
        self._table = np.full(1024, -1, np.int32)
        self._hashes = np.empty(512, np.uint64)
        self._ends = np.zeros(513, np.int64)
        self._arena = np.empty(8192, np.uint8)
        self.numbers(pa.array(texts, pa.string()))

    def __len__(self) -> int:
        return self._count

    def numbers(self, column: pa.Array) -> Int64:
        """Return the number of each text of `column`, giving new texts the next numbers; -1 for null."""
        return self._numbers(column, add=True)

    def find(self, text: str) -> int | None:
        """Return the number of `text`, or None if it has none."""
        number = int(self._numbers(pa.array([text], pa.string()), add=False)[0])
        return None if number < 0 else number

    def text(self, number: int) -> str:
        """Return the text with this number."""
        return self._arena[self._ends[number] : self._ends[number + 1]].tobytes().decode()

    def texts(self, begin: int = 0, end: int | None = None) -> pa.Array:
        """Return the texts with the numbers `begin` to `end`, together below 2 GB, as a string column."""
        end = self._count if end is None else end
        start = self._ends[begin]
        offsets = (self._ends[begin : end + 1] - start).astype(np.int32)
        data = self._arena[start : self._ends[end]].tobytes()
        return pa.StringArray.from_buffers(end - begin, pa.py_buffer(offsets), pa.py_buffer(data))

    def _numbers(self, column: pa.Array, *, add: bool) -> Int64:
        n = len(column)
        offsets, text = text_view(column)
        valid = np.ones(n, np.bool_)
        if column.null_count:
            valid = column.is_valid().to_numpy(zero_copy_only=False)
        if add:
            self._make_room(n, int(offsets[-1]) - int(offsets[0]))
        numbers = np.empty(n, np.int64)
        self._count = _assign(
            offsets,
            text,
            valid,
            self._table,
            self._hashes,
            self._ends,
            self._arena,
            self._count,
            add,
            numbers,
        )
        return numbers

    def _make_room(self, entries: int, text_bytes: int) -> None:
        while self._count + entries > len(self._hashes):
            self._hashes = np.concatenate([self._hashes, np.empty_like(self._hashes)])
            self._ends = np.concatenate([self._ends, np.zeros(len(self._ends) - 1, np.int64)])
            self._table = np.full(len(self._table) * 2, -1, np.int32)
            _fill(self._hashes, self._count, self._table)
        while int(self._ends[self._count]) + text_bytes > len(self._arena):
            self._arena = np.concatenate([self._arena, np.empty_like(self._arena)])


@njit(types.void(_HASHES, types.int64, types.int32[::1]), cache=True, nogil=True)
def _fill(hashes, count, table):  # type: ignore[no-untyped-def]
    mask = np.uint64(len(table) - 1)
    for number in range(count):
        place = np.int64(hashes[number] & mask)
        while table[place] >= 0:
            place = np.int64(np.uint64(place + 1) & mask)
        table[place] = number


@njit(types.boolean(_TEXT, types.int64, types.int64, types.uint8[::1], types.int64, types.int64), cache=True)
def _same(text, begin, end, arena, low, high):  # type: ignore[no-untyped-def]
    if end - begin != high - low:
        return False
    different = np.uint8(0)
    for i in range(end - begin):  # no early end, so that it is compiled to wide compares
        different |= text[begin + i] ^ arena[low + i]
    return different == 0


@njit(types.uint64(_TEXT, types.int64, types.int64), cache=True)
def _hash(text, begin, end):  # type: ignore[no-untyped-def]
    """Hash a text for the table in memory alone; it may change with any version."""
    h = np.uint64(end - begin)
    w = np.uint64(0)
    shift = np.uint64(0)
    for i in range(begin, end):
        w |= np.uint64(text[i]) << shift
        shift += np.uint64(8)
        if shift == np.uint64(64):
            h = (h ^ w) * _PRIME
            h ^= h >> np.uint64(29)
            w = np.uint64(0)
            shift = np.uint64(0)
    h = (h ^ w) * _PRIME
    h ^= h >> np.uint64(32)
    return h * _PRIME ^ (h >> np.uint64(29))


@njit(
    types.int64(
        _OFFSETS, _TEXT, _VALID, types.int32[::1], types.uint64[::1], types.int64[::1],
        types.uint8[::1], types.int64, types.boolean, types.int64[::1],
    ),
    cache=True,
    nogil=True,
)  # fmt: skip
def _assign(offsets, text, valid, table, known, ends, arena, count, add, numbers):  # type: ignore[no-untyped-def]
    mask = np.uint64(len(table) - 1)
    for i in range(len(numbers)):
        numbers[i] = -1
        if not valid[i]:
            continue
        begin = np.int64(offsets[i])
        end = np.int64(offsets[i + 1])
        if i > 0 and numbers[i - 1] >= 0:  # often the same as in the line before
            number = numbers[i - 1]
            if _same(text, begin, end, arena, ends[number], ends[number + 1]):
                numbers[i] = number
                continue
        hashed = _hash(text, begin, end)
        place = np.int64(hashed & mask)
        while table[place] >= 0:
            number = np.int64(table[place])
            if known[number] == hashed and _same(text, begin, end, arena, ends[number], ends[number + 1]):
                numbers[i] = number
                break
            place = np.int64(np.uint64(place + 1) & mask)
        if numbers[i] >= 0 or not add:
            continue
        table[place] = count
        known[count] = hashed
        low = ends[count]
        for j in range(end - begin):
            arena[low + j] = text[begin + j]
        ends[count + 1] = low + end - begin
        numbers[i] = count
        count += 1
    return count
