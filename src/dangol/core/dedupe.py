"""Which lines were seen before: by event id, and by what they say.

A line's *mark* is 16 bytes: 80 bits of a hash of its event id and 48 bits of a hash of its fields. Two
lines with the same id and the same fields are one event delivered twice; with the same id and other fields
they are in conflict. Among a thousand million lines the chance that any two ids share their 80 bits is
below one in a million.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from numba import njit, types
from numpy.typing import NDArray

from dangol.core.identity import UInt64, hash_columns, hash_columns_64, hex_ids
from dangol.core.schema import Int64

__all__ = [
    "CONFLICT",
    "DUPLICATE",
    "NEW",
    "Marks",
    "Seen",
    "judge",
    "mark_lines",
    "mark_rejects",
    "with_event_ids",
]

NEW, DUPLICATE, CONFLICT = 0, 1, 2

_BODY = ("invoice", "product", "description", "quantity", "unit_price", "customer", "country", "at")
_REJECTED = 0x52454A45
_ID_BITS = np.uint64(0xFFFF << 48)
_BODY_BITS = np.uint64(16)
_READ = types.Array(types.uint64, 1, "C", readonly=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """The marks of `n` lines: 64 bits of the id, and 16 more of it above 48 of the fields."""

    id: UInt64
    rest: UInt64

    def rows(self, which: NDArray[np.bool_]) -> UInt64:
        """Return the marks of some lines as rows of two words."""
        return np.stack([self.id[which], self.rest[which]], axis=1)


class Seen(Protocol):
    """The marks of all lines that were ever committed."""

    def find_marks(self, ids: UInt64) -> tuple[Int64, UInt64]:
        """Return (place in `ids`, rest) for each known mark with one of these ids."""
        ...


def with_event_ids(lines: pa.RecordBatch) -> pa.RecordBatch:
    """Give each line without an event id one made of its fields, so that an exact copy is a duplicate."""
    column = lines.column("event_id")
    if not column.null_count:
        return lines
    missing = column.is_null()
    bare = lines.filter(missing)
    made = np.empty(len(lines), np.int64)
    places = np.flatnonzero(missing.to_numpy(zero_copy_only=False))
    made[places] = len(lines) + np.arange(len(places))
    kept = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    made[kept] = kept
    made_ids = hex_ids("hash-", hash_columns(_body(bare), len(bare)))
    ids = pa.concat_arrays([column, made_ids]).take(pa.array(made))
    return lines.set_column(lines.schema.get_field_index("event_id"), lines.schema.field("event_id"), ids)


def _body(lines: pa.RecordBatch) -> list[pa.Array | Int64]:
    columns = [lines.column(name) for name in _BODY]
    return [c.to_numpy() if pa.types.is_integer(c.type) else c for c in columns]


def mark_lines(lines: pa.RecordBatch, seed: int) -> Marks:
    """Return the marks of lines (the columns of LINES, times as int64) that all have event ids."""
    first, second = hash_columns([lines.column("event_id")], len(lines), seed)
    body = hash_columns_64(_body(lines), len(lines), seed)
    return Marks(id=first, rest=(second & _ID_BITS) | (body >> _BODY_BITS))


def mark_rejects(raw: list[bytes], seed: int) -> Marks:
    """Return the marks of rejected lines: of their bytes alone, so that a mended line is no conflict."""
    first, second = hash_columns([pa.array(raw, pa.binary())], len(raw), seed ^ _REJECTED)
    return Marks(id=first, rest=second)


def judge(marks: Marks, seen: Seen) -> NDArray[np.uint8]:
    """Return NEW, DUPLICATE or CONFLICT for each line, in the light of `seen` and of the lines before it."""
    verdict = np.zeros(len(marks.id), np.uint8)
    _judge_within(marks.id, marks.rest, verdict)
    place, rest = seen.find_marks(marks.id)
    if len(place):
        own = marks.rest[place]
        same_id = ((own ^ rest) & _ID_BITS) == 0
        conflicts = place[same_id & (own != rest)]
        verdict[conflicts] = CONFLICT
        verdict[place[same_id & (own == rest)]] = DUPLICATE
    return verdict


@njit(types.void(_READ, _READ, types.uint8[::1]), cache=True, nogil=True)
def _judge_within(ids, rests, verdict):  # type: ignore[no-untyped-def]
    n = len(ids)
    size = 16
    while size < 2 * n:
        size *= 2
    table = np.full(size, -1, np.int32)
    mask = np.uint64(size - 1)
    for i in range(n):
        at = np.int64(ids[i] & mask)
        while table[at] >= 0:
            j = table[at]
            if ids[j] == ids[i] and (rests[j] ^ rests[i]) & _ID_BITS == 0:
                verdict[i] = 1 if rests[j] == rests[i] else 2
                break
            at = np.int64(np.uint64(at + 1) & mask)
        if table[at] < 0:
            table[at] = i
