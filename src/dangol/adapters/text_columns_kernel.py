"""Lays the spans of fields out as Arrow text columns."""

from __future__ import annotations

import numpy as np
from numba import njit, types

from dangol.adapters.words_kernel import WORD, byte, inner, put_byte, put_word, word

__all__ = ["gather", "totals"]

_I = types.int64
_READ = types.Array(types.uint8, 1, "C", readonly=True)
_BYTES = types.uint8[::1]
_SPANS = types.int32[:, ::1]
_ENDS = types.int64[::1]


@njit(types.void(_SPANS, _I, types.int64[::1]), cache=True, nogil=True)
def totals(lengths, rows, out):  # type: ignore[no-untyped-def]
    """Add up the bytes of each field."""
    for row in range(rows):
        for field in range(len(out)):
            out[field] += max(lengths[row, field], 0)


@inner(types.void(_I, _I, _I, _I))
def _copy(at, end, to, length):  # type: ignore[no-untyped-def]
    """Copy by words (up to seven bytes too many, which the next copy writes over)."""
    if at + length + WORD > end:
        for place in range(length):
            put_byte(to + place, byte(at + place))
        return
    for place in range(0, length, WORD):
        put_word(to + place, word(at + place))


@njit(
    types.void(_READ, _READ, _SPANS, _SPANS, _I, _ENDS, _SPANS, types.uint8[:, ::1], _BYTES),
    cache=True,
    nogil=True,
)
def gather(data, scratch, starts, lengths, rows, ends, offsets, nulls, out):  # type: ignore[no-untyped-def]
    """Write all fields as Arrow text columns, line by line while a line is in the cache.

    `ends` [fields] holds where each field's texts begin in `out`, and then where they end; `offsets` count
    from there. `nulls` comes with all bits set and loses those of nulls. `out` has a word to spare behind
    each field.
    """
    n = len(data)
    memory, other = data.ctypes.data, scratch.ctypes.data - n
    begin = out.ctypes.data
    width = len(ends)
    for field in range(width):
        offsets[field, 0] = 0
    firsts = ends.copy()
    for row in range(rows):
        for field in range(width):
            length = np.int64(lengths[row, field])
            if length >= 0:
                start = np.int64(starts[row, field])
                if start < n:
                    _copy(memory + start, memory + n, begin + ends[field], length)
                else:
                    _copy(other + start, other + 2 * n, begin + ends[field], length)
                ends[field] += length
            else:
                nulls[field, row >> 3] &= np.uint8(255 - (1 << (row & 7)))
            offsets[field, row + 1] = ends[field] - firsts[field]
