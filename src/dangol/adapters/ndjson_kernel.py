"""The fast lane of the NDJSON parser: one pass over the bytes, compiled by numba once and cached.

It takes whole lines that it understands beyond doubt and leaves all others to the slow lane (`ndjson.py`).
Keys are expected in the order of the line before, texts are searched eight bytes at a time, and escapes are
resolved into `scratch`, where a text begins at the place that it has in the data (it never grows).
A span that begins at or behind the length of the data lies in `scratch`.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types

from dangol.adapters.escapes_kernel import read_escaped
from dangol.adapters.words_kernel import (
    WORD,
    byte,
    find_newline,
    find_text_end,
    has_high,
    inner,
    long,
    put_int,
    put_long,
    same,
    skip_blank,
    word,
)

__all__ = ["DONE", "MAX_DEPTH", "SLOW", "TOO_LONG", "depth_of", "scan"]

DONE, SLOW, TOO_LONG = 0, 1, 2
"""What became of a line in the fast lane."""

MAX_DEPTH = 64
PREDICTED = 64
"""So many members of a line are expected to have the key that the line before had there."""

_READ = types.Array(types.uint8, 1, "C", readonly=True)
_NUMBERS = types.Array(types.int64, 1, "C", readonly=True)
_BYTES = types.uint8[::1]
_SPANS = types.int32[:, ::1]
_I = types.int64
_PAIR = types.UniTuple(types.int64, 2)
_TRIPLE = types.UniTuple(types.int64, 3)

_TRUE = np.uint64(int.from_bytes(b"true", "little"))
_NULL = np.uint64(int.from_bytes(b"null", "little"))
_FALSE = np.uint64(int.from_bytes(b"false", "little"))
_LOW_4 = np.uint64(0xFFFFFFFF)
_LOW_5 = np.uint64(0xFFFFFFFFFF)
_QUOTE, _COMMA, _MINUS, _DOT, _ZERO, _NINE, _COLON = 34, 44, 45, 46, 48, 57, 58
_BACKSLASH, _OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST = 92, 123, 125, 91, 93
_BAD = np.int64(-1)


@inner(_I(_I, _I, _I, _I))
def _field(at, end, names, places):  # type: ignore[no-untyped-def]
    """Find the field named by the bytes from `at` to `end`, or -1 (`places`: fields + 1, then the cuts)."""
    for number in range(long(places) - 1):
        begin = long(places + 8 * (number + 1))
        if long(places + 8 * (number + 2)) - begin != end - at:
            continue
        place = at
        while place < end and byte(place) == byte(names + begin + place - at):
            place += 1
        if place == end:
            return number
    return _BAD


@inner(_PAIR(_I, _I, _I, _I, _I))
def _new_key(at, end, names, places, known):  # type: ignore[no-untyped-def]
    """Read and remember the key whose quote is at `at`: its field, and the address behind (-1: slow lane)."""
    stop = find_text_end(at + 1, end)
    if stop >= end or byte(stop) != _QUOTE:
        return _BAD, _BAD
    field = _field(at + 1, stop, names, places)
    if known:
        put_long(known, at)
        put_long(known + 8, stop + 1 - at)
        put_long(known + 16, field)
    return field, stop + 1


@inner(_I(_I, _I))
def _digits(at, end):  # type: ignore[no-untyped-def]
    while at < end and _ZERO <= byte(at) <= _NINE:
        at += 1
    return at


@inner(_I(_I, _I))
def _exponent(at, end):  # type: ignore[no-untyped-def]
    """Find the end of an exponent whose e is at `at`, or -1."""
    at += 1
    if at < end and (byte(at) == 43 or byte(at) == _MINUS):
        at += 1
    stop = _digits(at, end)
    return stop if stop > at else _BAD


@inner(_TRIPLE(_I, _I))
def _number(at, end):  # type: ignore[no-untyped-def]
    """Read a number: its text (6.00 is 6, -0.0 is 0) as begin and length, and the address behind."""
    begin = at
    whole = at + 1 if byte(at) == _MINUS else at
    stop = _digits(whole, end)
    if stop == whole or (byte(whole) == _ZERO and stop > whole + 1):
        return begin, 0, _BAD
    at = stop
    if at < end and byte(at) == _DOT:
        at = _digits(stop + 1, end)
        if at == stop + 1:
            return begin, 0, _BAD
        zeros = stop + 1
        while zeros < at and byte(zeros) == _ZERO:
            zeros += 1
        stop = stop if zeros == at else at
    if at < end and (byte(at) | 32) == 101:
        at = _exponent(at, end)
        return begin, at - begin, at
    if stop == whole + 1 and byte(whole) == _ZERO:
        begin = whole
    return begin, stop - begin, at


@inner(_TRIPLE(_I, _I))
def _literal(at, end):  # type: ignore[no-untyped-def]
    """Read true, false or null (length -1)."""
    if at + WORD > end:
        return at, 0, _BAD
    bits = word(at)
    if (bits & _LOW_4) == _NULL:
        return at, _BAD, at + 4
    if (bits & _LOW_4) == _TRUE:
        return at, 4, at + 4
    if (bits & _LOW_5) == _FALSE:
        return at, 5, at + 5
    return at, 0, _BAD


@inner(_I(_I, _I))
def _skip_scalar(at, end):  # type: ignore[no-untyped-def]
    """Find the end of a text without escapes, a number or a literal (-1: slow lane)."""
    if at >= end:
        return _BAD
    first = byte(at)
    if first == _QUOTE:
        stop = find_text_end(at + 1, end)
        return stop + 1 if stop < end and byte(stop) == _QUOTE else _BAD
    if first == _MINUS or _ZERO <= first <= _NINE:
        return _number(at, end)[2]
    return _literal(at, end)[2]


@inner(_I(_I, _I))
def _skip_key(at, end):  # type: ignore[no-untyped-def]
    """Find the value behind a key (-1: slow lane)."""
    if at >= end or byte(at) != _QUOTE:
        return _BAD
    at = _skip_scalar(at, end)
    if at < 0:
        return _BAD
    at = skip_blank(at, end)
    return skip_blank(at + 1, end) if at < end and byte(at) == _COLON else _BAD


@inner(_TRIPLE(_I, _I, _I, _I))
def _leave(at, end, kinds, depth):  # type: ignore[no-untyped-def]
    """Go on behind a value that lies in brackets: to the next value, or out of them all (depth 0)."""
    at = skip_blank(at, end)
    while at < end and byte(at) == (_CLOSE if kinds & 1 else _CLOSE_LIST):
        at += 1
        kinds >>= 1
        depth -= 1
        if depth == 0:
            return at, kinds, depth
        at = skip_blank(at, end)
    if at >= end or byte(at) != _COMMA:
        return _BAD, kinds, depth
    at = skip_blank(at + 1, end)
    return (_skip_key(at, end) if kinds & 1 else at), kinds, depth


@inner(_I(_I, _I))
def _skip_nested(at, end):  # type: ignore[no-untyped-def]
    """Find the end of the object or list at `at` (-1: slow lane). `kinds`: a bit a level, 1 for an object."""
    kinds = np.int64(0)
    depth = np.int64(0)
    while at >= 0 and at < end:
        first = byte(at)
        if first in (_OPEN, _OPEN_LIST):
            depth += 1
            if depth >= MAX_DEPTH - 2:
                return _BAD
            kinds = (kinds << 1) | (first == _OPEN)
            at = skip_blank(at + 1, end)
            if at < end and byte(at) != (_CLOSE if first == _OPEN else _CLOSE_LIST):
                at = _skip_key(at, end) if first == _OPEN else at
                continue
        else:
            at = _skip_scalar(at, end)
            if at < 0:
                return _BAD
        at, kinds, depth = _leave(at, end, kinds, depth)
        if depth == 0:
            return at
    return _BAD


@inner(_I(_I, _I, _I, _I, _I, _I, types.boolean))
def _member(at, end, base, to_scratch, start, length, wanted):  # type: ignore[no-untyped-def]
    """Read the value at `at` and write down its span if it is wanted: the address behind (-1: slow lane)."""
    if at >= end:
        return _BAD
    first = byte(at)
    if not wanted and first in (_OPEN, _OPEN_LIST):
        return _skip_nested(at, end)
    shift = np.int64(0)
    if first == _QUOTE:
        begin = at + 1
        stop = find_text_end(begin, end)
        if stop < end and byte(stop) == _QUOTE:
            size, at = stop - begin, stop + 1
        elif stop < end and byte(stop) == _BACKSLASH:
            begin, size, at = read_escaped(begin, stop, end, to_scratch)
            shift = end - base
        else:
            return _BAD
    elif first == _MINUS or _ZERO <= first <= _NINE:
        begin, size, at = _number(at, end)
    else:
        begin, size, at = _literal(at, end)
    if wanted:
        put_int(start, begin - base + shift)
        put_int(length, size)
    return at


@inner(_I(_I, _I, _I, _I, _I, _I, _I, _I, _I))
def _object(at, end, base, names, places, known, to_scratch, starts, lengths):  # type: ignore[no-untyped-def]
    """Read the object whose brace is at `at`: the address behind it, or -1 for the slow lane."""
    at = skip_blank(at + 1, end)
    if at < end and byte(at) == _CLOSE:
        return at + 1
    last = known + 24 * PREDICTED
    while at < end and byte(at) == _QUOTE:
        if known < last and long(known + 8) > 0 and same(at, long(known), long(known + 8), end):
            field = long(known + 16)
            at += long(known + 8)
        else:
            field, at = _new_key(at, end, names, places, known if known < last else 0)
            if at < 0:
                return _BAD
        at = skip_blank(at, end)
        if at >= end or byte(at) != _COLON:
            return _BAD
        at = skip_blank(at + 1, end)
        at = _member(at, end, base, to_scratch, starts + 4 * field, lengths + 4 * field, field >= 0)
        if at < 0:
            return _BAD
        at = skip_blank(at, end)
        if at >= end or byte(at) != _COMMA:
            return at + 1 if at < end and byte(at) == _CLOSE else _BAD
        at = skip_blank(at + 1, end)
        known += 24
    return _BAD


@njit(
    _I(
        _READ,
        _I,
        types.boolean,
        _I,
        _READ,
        _NUMBERS,
        types.int64[::1],
        _BYTES,
        _SPANS,
        _SPANS,
        _SPANS,
        _BYTES,
    ),
    cache=True,
    nogil=True,
)
def scan(data, skipped, high_is_slow, max_line, names, places, known, scratch, starts, lengths, lines, fate):  # type: ignore[no-untyped-def]
    """Read all lines behind the first `skipped` bytes; return how many there are, blank ones not counted.

    `names` holds the field names end to end; `places` their number + 1, then where each begins, and the
    end. `known` [3 * PREDICTED], zeros, is for the keys in the order last seen; it comes from the caller
    because numba frees an array made here as soon as only its address is used. Row by row, `starts` and
    `lengths` receive the fields' spans, `lines` begin, end and number of the physical line, `fate` what
    became of it.
    """
    base = data.ctypes.data
    end = base + len(data)
    at = base + skipped
    memory = known.ctypes.data
    width = 4 * starts.shape[1]
    spans, sizes = starts.ctypes.data, lengths.ctypes.data
    row = 0
    number = 0
    while at < end:
        number += 1
        begin = at
        at = skip_blank(at, end)
        if at >= end or byte(at) == 10:
            at += 1
            continue
        lengths[row, :] = -1
        stop = _BAD
        if byte(at) == _OPEN:
            stop = _object(
                at,
                end,
                base,
                names.ctypes.data,
                places.ctypes.data,
                memory,
                scratch.ctypes.data - base,
                spans + row * width,
                sizes + row * width,
            )
            stop = skip_blank(stop, end) if stop >= 0 else _BAD
        good = stop >= 0 and (stop == end or byte(stop) == 10)
        if not good:
            stop = find_newline(at, end)
        at = stop + 1
        if byte(stop - 1) == 13:
            stop -= 1
        if good and high_is_slow:
            good = not has_high(begin, stop)
        lines[row, 0] = begin - base
        lines[row, 1] = stop - base
        lines[row, 2] = number
        fate[row] = TOO_LONG if stop - begin > max_line else (DONE if good else SLOW)
        row += 1
    return row


@njit(_I(_READ), cache=True, nogil=True)
def depth_of(data):  # type: ignore[no-untyped-def]
    """How deep brackets nest in `data`, texts left out; stops counting behind MAX_DEPTH."""
    depth = 0
    deepest = 0
    at, end = data.ctypes.data, data.ctypes.data + len(data)
    inside = False
    while at < end and deepest <= MAX_DEPTH:
        here = byte(at)
        if inside:
            at += here == _BACKSLASH
            inside = here != _QUOTE
        elif here == _QUOTE:
            inside = True
        elif here in (_OPEN_LIST, _OPEN):
            depth += 1
            deepest = max(deepest, depth)
        elif here in (_CLOSE_LIST, _CLOSE):
            depth -= 1
        at += 1
    return deepest
