"""Resolves the escapes of JSON texts inside the fast lane of the NDJSON parser."""

from __future__ import annotations

import numpy as np
from numba import types

from dangol.adapters.words_kernel import byte, find_text_end, inner, put_byte

__all__ = ["read_escaped"]

_I = types.int64
_PAIR = types.UniTuple(types.int64, 2)
_TRIPLE = types.UniTuple(types.int64, 3)
_QUOTE, _ZERO, _NINE, _BACKSLASH = 34, 48, 57, 92
_BAD = np.int64(-1)


@inner(_I(_I))
def _hex(at):  # type: ignore[no-untyped-def]
    """Four hexadecimal digits, or -1."""
    value = np.int64(0)
    for place in range(at, at + 4):
        digit = byte(place)
        if _ZERO <= digit <= _NINE:
            value = value * 16 + digit - _ZERO
        elif 97 <= (digit | 32) <= 102:
            value = value * 16 + (digit | 32) - 87
        else:
            return _BAD
    return value


@inner(_I(_I, _I))
def _put_point(to, point):  # type: ignore[no-untyped-def]
    """Write a code point in UTF-8; return the address behind it."""
    if point < 0x80:
        put_byte(to, point)
        return to + 1
    if point < 0x800:
        put_byte(to, 0xC0 | (point >> 6))
    elif point < 0x10000:
        put_byte(to, 0xE0 | (point >> 12))
        put_byte(to + 1, 0x80 | ((point >> 6) & 63))
        to += 1
    else:
        put_byte(to, 0xF0 | (point >> 18))
        put_byte(to + 1, 0x80 | ((point >> 12) & 63))
        put_byte(to + 2, 0x80 | ((point >> 6) & 63))
        to += 2
    put_byte(to + 1, 0x80 | (point & 63))
    return to + 2


@inner(_I(_I))
def _short_escape(letter):  # type: ignore[no-untyped-def]
    """Resolve a backslash and `letter`, or -1."""
    if letter in (_QUOTE, _BACKSLASH, 47):
        return letter
    if letter == 110:
        return np.int64(10)
    if letter == 116:
        return np.int64(9)
    if letter == 114:
        return np.int64(13)
    if letter == 98:
        return np.int64(8)
    return np.int64(12) if letter == 102 else _BAD


@inner(_PAIR(_I, _I))
def _escape(at, end):  # type: ignore[no-untyped-def]
    """Read the escape whose backslash is at `at`: its code point, and the address behind (-1: slow lane)."""
    if at + 12 > end:
        return _BAD, _BAD
    if byte(at + 1) != 117:
        point = _short_escape(byte(at + 1))
        return point, (at + 2 if point >= 0 else _BAD)
    point = _hex(at + 2)
    if point < 0 or 0xDC00 <= point <= 0xDFFF:
        return point, _BAD
    if point < 0xD800 or point > 0xDFFF:
        return point, at + 6
    low = _hex(at + 8) if byte(at + 6) == _BACKSLASH and byte(at + 7) == 117 else _BAD
    if low < 0xDC00 or low > 0xDFFF:
        return point, _BAD
    return 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00), at + 12


@inner(_TRIPLE(_I, _I, _I, _I))
def read_escaped(begin, at, end, to_scratch):  # type: ignore[no-untyped-def]
    """Read the text from `begin` on, whose first backslash is at `at`, into scratch memory."""
    to = begin + to_scratch
    for place in range(begin, at):
        put_byte(to, byte(place))
        to += 1
    while at < end and byte(at) == _BACKSLASH:
        point, at = _escape(at, end)
        if at < 0:
            return begin, 0, _BAD
        to = _put_point(to, point)
        stop = find_text_end(at, end)
        while at < stop:
            put_byte(to, byte(at))
            to += 1
            at += 1
    if at >= end or byte(at) != _QUOTE:
        return begin, 0, _BAD
    return begin, to - begin - to_scratch, at + 1
