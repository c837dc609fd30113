"""The inner loops of the run index, compiled by numba once and cached."""

from __future__ import annotations

import numpy as np
from numba import njit, types

__all__ = [
    "FENCE",
    "add_to_bloom",
    "bloom_bits",
    "chain",
    "find_in_memory",
    "find_in_run",
    "first_places",
    "gather",
]

FENCE = 128
"""One key in so many is held in memory."""

_M1 = np.uint64(0xFF51AFD7ED558CCD)
_M2 = np.uint64(0xC4CEB9FE1A85EC53)
_ONE = np.uint64(1)
_SIX_BITS = np.uint64(63)
_READ = types.Array(types.uint64, 1, "C", readonly=True)
_READ_ROWS = types.Array(types.uint64, 2, "C", readonly=True)
_ROWS = types.uint64[:, ::1]
_LINKS = types.int32[::1]
_FOUND = types.Tuple((types.int64[::1], types.uint64[:, ::1]))


@njit("uint64(uint64)", cache=True)
def _mix(x):  # type: ignore[no-untyped-def]
    x ^= x >> np.uint64(33)
    x *= _M1
    x ^= x >> np.uint64(33)
    x *= _M2
    return x ^ (x >> np.uint64(33))


@njit("uint64(uint64)", cache=True)
def _bits(h):  # type: ignore[no-untyped-def]
    """Five bits of one word (a register-blocked Bloom filter: one memory access a look-up)."""
    word = _ONE << (h & _SIX_BITS)
    for shift in (6, 12, 18, 24):
        word |= _ONE << ((h >> np.uint64(shift)) & _SIX_BITS)
    return word


@njit(types.void(_READ, types.uint64[::1]), cache=True, nogil=True)
def add_to_bloom(keys, bloom):  # type: ignore[no-untyped-def]
    """Mark `keys` in the filter `bloom`."""
    words = np.uint64(len(bloom))
    for i in range(len(keys)):
        h = _mix(keys[i])
        bloom[np.int64((h >> np.uint64(32)) * words >> np.uint64(32))] |= _bits(h)


@njit(_ROWS(_READ_ROWS, types.Array(types.int64, 1, "C", readonly=True)), cache=True, nogil=True)
def gather(rows, order):  # type: ignore[no-untyped-def]
    """Return the rows in this order."""
    n, width = len(order), rows.shape[1]
    out = np.empty((n, width), np.uint64)
    for i in range(n):
        for j in range(width):
            out[i, j] = rows[order[i], j]
    return out


@njit(types.void(_ROWS, types.int64, types.int64, _LINKS, _LINKS), cache=True, nogil=True)
def chain(rows, begin, end, heads, previous):  # type: ignore[no-untyped-def]
    """Link rows `begin` to `end` into the chains of their keys, newest first."""
    mask = np.uint64(len(heads) - 1)
    for i in range(begin, end):
        bucket = np.int64(_mix(rows[i, 0]) & mask)
        previous[i] = heads[bucket]
        heads[bucket] = i


@njit(_FOUND(_READ, _ROWS, _LINKS, _LINKS), cache=True, nogil=True)
def find_in_memory(keys, rows, heads, previous):  # type: ignore[no-untyped-def]
    """Return (place in keys, row) of the rows in memory with one of `keys`."""
    mask = np.uint64(len(heads) - 1)
    count = 0
    for i in range(len(keys)):
        at = heads[np.int64(_mix(keys[i]) & mask)]
        while at >= 0:
            count += rows[at, 0] == keys[i]
            at = previous[at]
    places = np.empty(count, np.int64)
    found = np.empty((count, rows.shape[1]), np.uint64)
    if count == 0:
        return places, found
    count = 0
    for i in range(len(keys)):
        at = heads[np.int64(_mix(keys[i]) & mask)]
        while at >= 0:
            if rows[at, 0] == keys[i]:
                places[count] = i
                found[count] = rows[at]
                count += 1
            at = previous[at]
    return places, found


@njit(types.int64(types.uint64, _READ_ROWS, _READ), cache=True, nogil=True)
def _first(key, rows, fences):  # type: ignore[no-untyped-def]
    """Return the place of the first row whose key is not below `key`."""
    low = np.int64(0)
    high = np.int64(len(fences))
    while low < high:
        middle = (low + high) // 2
        if fences[middle] < key:
            low = middle + 1
        else:
            high = middle
    begin = max(np.int64(0), (low - 1) * FENCE)
    end = min(np.int64(len(rows)), low * FENCE + 1)
    while begin < end:
        middle = (begin + end) // 2
        if rows[middle, 0] < key:
            begin = middle + 1
        else:
            end = middle
    return begin


@njit(types.int64[::1](_READ, _READ_ROWS, _READ), cache=True, nogil=True)
def first_places(keys, rows, fences):  # type: ignore[no-untyped-def]
    """Return for each key the place of the first row whose key is not below it."""
    places = np.empty(len(keys), np.int64)
    for i in range(len(keys)):
        places[i] = _first(keys[i], rows, fences)
    return places


@njit(types.void(_READ, types.uint64[::1], types.uint64[::1]), cache=True, nogil=True)
def bloom_bits(keys, spread, bits):  # type: ignore[no-untyped-def]
    """Set for each key what picks its word of any filter, and its bits in that word."""
    for i in range(len(keys)):
        h = _mix(keys[i])
        spread[i] = h >> np.uint64(32)
        bits[i] = _bits(h)


@njit(_FOUND(_READ, _READ, _READ, _READ_ROWS, _READ, _READ), cache=True, nogil=True)
def find_in_run(keys, spread, bits, rows, fences, bloom):  # type: ignore[no-untyped-def]
    """Return (place in keys, row) of the rows of a run with one of `keys`."""
    words = np.uint64(len(bloom))
    maybe = np.empty(len(keys), np.int64)  # few pass the filter, so little of these is ever touched
    begins = np.empty(len(keys), np.int64)
    ends = np.empty(len(keys), np.int64)
    passed = 0
    count = 0
    for i in range(len(keys)):
        if bloom[np.int64(spread[i] * words >> np.uint64(32))] & bits[i] != bits[i]:
            continue
        at = _first(keys[i], rows, fences)
        maybe[passed] = i
        begins[passed] = at
        while at < len(rows) and rows[at, 0] == keys[i]:
            at += 1
        ends[passed] = at
        count += at - begins[passed]
        passed += 1
    places = np.empty(count, np.int64)
    found = np.empty((count, rows.shape[1]), np.uint64)
    count = 0
    for j in range(passed):
        for at in range(begins[j], ends[j]):
            places[count] = maybe[j]
            found[count] = rows[at]
            count += 1
    return places, found
