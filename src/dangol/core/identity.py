"""Stable hashes of text and number columns: who a line is, and whether two lines say the same.

The mixing follows MurmurHash3 x64-128 (Austin Appleby, public domain): two 64-bit lanes, eight bytes
a step. The hashes are stored on disk, so they must never change; a data folder's own random seed keeps
outsiders from preparing collisions.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numba import njit, types
from numpy.typing import NDArray

from dangol.core.schema import Int64

__all__ = ["Hash128", "UInt64", "digest", "hash_columns", "hash_columns_64", "hex_ids", "text_view"]

UInt64 = NDArray[np.uint64]
Hash128 = tuple[UInt64, UInt64]

_C1 = np.uint64(0x87C37B91114253D5)
_C2 = np.uint64(0x4CF5AD432745937F)
_M1 = np.uint64(0xFF51AFD7ED558CCD)
_M2 = np.uint64(0xC4CEB9FE1A85EC53)
_FIVE = np.uint64(5)
_A1 = np.uint64(0x52DCE729)
_A2 = np.uint64(0x38495AB5)
_OFFSETS = types.Array(types.int32, 1, "C", readonly=True)
_TEXT = types.Array(types.uint8, 1, "C", readonly=True)
_NUMBERS = types.Array(types.int64, 1, "C", readonly=True)
_LANE = types.uint64[::1]


def text_view(column: pa.Array) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Return the offsets [n + 1] and bytes of a string column, without copying; nulls have no bytes."""
    _, offsets, data = column.buffers()
    if offsets is None or len(column) == 0:
        return np.zeros(len(column) + 1, np.int32), np.zeros(0, np.uint8)
    starts = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    text = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return starts, text


def hash_columns(columns: Iterable[pa.Array | Int64], n: int, seed: int = 0) -> Hash128:
    """Return a 128-bit hash of each of `n` rows over `columns` (string or int64), as two lanes."""
    first = np.full(n, np.uint64(seed), np.uint64)
    second = np.full(n, ~np.uint64(seed), np.uint64)
    for column in columns:
        if isinstance(column, np.ndarray):
            _mix_numbers(np.ascontiguousarray(column, np.int64), first, second)
        else:
            _mix_texts(*_texts(column), first, second)
    _finish(first, second)
    return first, second


def hash_columns_64(columns: Iterable[pa.Array | Int64], n: int, seed: int = 0) -> UInt64:
    """Return a 64-bit hash of each of `n` rows, in half the time of `hash_columns`."""
    first = np.full(n, np.uint64(seed), np.uint64)
    for column in columns:
        if isinstance(column, np.ndarray):
            _mix_numbers_1(np.ascontiguousarray(column, np.int64), first)
        else:
            _mix_texts_1(*_texts(column), first)
    _finish_1(first)
    return first


def _texts(column: pa.Array) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Return the offsets and bytes of a string column; a null may hide bytes, as where it was masked."""
    return text_view(column.fill_null("") if column.null_count else column)


def hex_ids(prefix: str, hashes: Hash128) -> pa.Array:
    """Return `prefix` and 32 hexadecimal digits for each hash, as a string column."""
    n = len(hashes[0])
    words = np.stack(hashes, axis=1).astype(">u8")
    octets = np.frombuffer(words.tobytes(), np.uint8).reshape(n, 16)
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    text = np.empty((n, len(prefix) + 32), np.uint8)
    text[:, : len(prefix)] = np.frombuffer(prefix.encode(), np.uint8)
    text[:, len(prefix) :: 2] = digits[octets >> 4]
    text[:, len(prefix) + 1 :: 2] = digits[octets & 15]
    offsets = np.arange(n + 1, dtype=np.int32) * (len(prefix) + 32)
    return pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(text.tobytes()))


def digest(text: str, seed: int) -> bytes:
    """Return 16 bytes that tell a text from others but do not tell what it is, for an erased id."""
    first, second = hash_columns([pa.array([text])], 1, seed)
    return first.tobytes() + second.tobytes()


@njit("uint64(uint64, uint64)", cache=True, inline="always")
def _rotate(x, by):  # type: ignore[no-untyped-def]
    return (x << by) | (x >> (np.uint64(64) - by))


@njit("uint64(uint64, uint64)", cache=True)
def _lane_1(h, w):  # type: ignore[no-untyped-def]
    h ^= _rotate(w * _C1, np.uint64(31)) * _C2
    return _rotate(h, np.uint64(27)) * _FIVE + _A1


@njit("uint64(uint64, uint64)", cache=True)
def _lane_2(g, w):  # type: ignore[no-untyped-def]
    g ^= _rotate(w * _C2, np.uint64(33)) * _C1
    return _rotate(g, np.uint64(31)) * _FIVE + _A2


@njit("uint64(uint64)", cache=True)
def _avalanche(x):  # type: ignore[no-untyped-def]
    x ^= x >> np.uint64(33)
    x *= _M1
    x ^= x >> np.uint64(33)
    x *= _M2
    return x ^ (x >> np.uint64(33))


@njit(types.uint64(_TEXT, types.int64), cache=True)
def _word(text, p):  # type: ignore[no-untyped-def]
    """Read eight bytes, little end first."""
    return (
        np.uint64(text[p])
        | np.uint64(text[p + 1]) << np.uint64(8)
        | np.uint64(text[p + 2]) << np.uint64(16)
        | np.uint64(text[p + 3]) << np.uint64(24)
        | np.uint64(text[p + 4]) << np.uint64(32)
        | np.uint64(text[p + 5]) << np.uint64(40)
        | np.uint64(text[p + 6]) << np.uint64(48)
        | np.uint64(text[p + 7]) << np.uint64(56)
    )


@njit(types.uint64(_TEXT, types.int64, types.int64), cache=True)
def _last_word(text, start, end):  # type: ignore[no-untyped-def]
    """Read what is left behind whole words, with the length; "ab", "c" and "a", "bc" stay apart by it."""
    w = np.uint64(end - start) << np.uint64(56)
    if end - start >= 8:
        return w ^ _word(text, end - 8)
    shift = np.uint64(0)
    for p in range(start, end):
        w ^= np.uint64(text[p]) << shift
        shift += np.uint64(8)
    return w


@njit(types.void(_OFFSETS, _TEXT, _LANE, _LANE), cache=True, nogil=True)
def _mix_texts(offsets, text, first, second):  # type: ignore[no-untyped-def]
    for i in range(len(offsets) - 1):
        start = np.int64(offsets[i])
        end = np.int64(offsets[i + 1])
        h = first[i]
        g = second[i]
        p = start
        while p + 8 <= end:
            w = _word(text, p)
            h = _lane_1(h, w)
            g = _lane_2(g, w)
            p += 8
        w = _last_word(text, start, end)
        first[i] = _lane_1(h, w)
        second[i] = _lane_2(g, w)


@njit(types.void(_OFFSETS, _TEXT, _LANE), cache=True, nogil=True)
def _mix_texts_1(offsets, text, first):  # type: ignore[no-untyped-def]
    for i in range(len(offsets) - 1):
        start = np.int64(offsets[i])
        end = np.int64(offsets[i + 1])
        h = first[i]
        p = start
        while p + 8 <= end:
            h = _lane_1(h, _word(text, p))
            p += 8
        first[i] = _lane_1(h, _last_word(text, start, end))


@njit(types.void(_NUMBERS, _LANE), cache=True, nogil=True)
def _mix_numbers_1(numbers, first):  # type: ignore[no-untyped-def]
    for i in range(len(numbers)):
        first[i] = _lane_1(first[i], np.uint64(numbers[i]))


@njit(types.void(_LANE), cache=True, nogil=True)
def _finish_1(first):  # type: ignore[no-untyped-def]
    for i in range(len(first)):
        first[i] = _avalanche(first[i])


@njit(types.void(_NUMBERS, _LANE, _LANE), cache=True, nogil=True)
def _mix_numbers(numbers, first, second):  # type: ignore[no-untyped-def]
    for i in range(len(numbers)):
        w = np.uint64(numbers[i])
        first[i] = _lane_1(first[i], w)
        second[i] = _lane_2(second[i], w)


@njit("void(uint64[::1], uint64[::1])", cache=True, nogil=True)
def _finish(first, second):  # type: ignore[no-untyped-def]
    for i in range(len(first)):
        h = first[i] + second[i]
        g = second[i] + h
        h = _avalanche(h)
        g = _avalanche(g)
        h += g
        first[i] = h
        second[i] = g + h
