"""The inner loops that read numbers and times out of text columns, compiled by numba once and cached.

The inner functions are given the addresses where a text begins and ends.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types

from dangol.adapters.words_kernel import byte, inner, same

__all__ = ["EXACT", "NULL", "SLOW", "has_edges", "to_bigint", "to_datetime", "to_float"]

NULL, EXACT, SLOW = 0, 1, 2
"""What a loop says of a row: not of that type, read, or too long to be read exactly in the loop."""

_OFFSETS = types.Array(types.int32, 1, "C", readonly=True)
_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_STATE = types.uint8[::1]
_SPAN = types.UniTuple(types.int64, 2)
_READ = types.UniTuple(types.int64, 2)

_TENS = np.array([10.0**power for power in range(23)])
_MONTH_DAYS = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_TOP = np.iinfo(np.int64).max
_ZERO, _NINE, _DOT, _PLUS, _MINUS, _COLON = 48, 57, 46, 43, 45, 58
_DAY_US = 86_400_000_000
_BAD = np.int64(-1)


@inner("boolean(int64)")
def _is_space(byte):  # type: ignore[no-untyped-def]
    return byte == 32 or (9 <= byte <= 13)


@inner("boolean(int64)")
def _is_digit(byte):  # type: ignore[no-untyped-def]
    return _ZERO <= byte <= _NINE


@njit(_SPAN(types.int64, types.int64), cache=True, inline="always")
def _inside(at, end):  # type: ignore[no-untyped-def]
    while at < end and _is_space(byte(at)):
        at += 1
    while end > at and _is_space(byte(end - 1)):
        end -= 1
    return at, end


@njit(types.boolean(_OFFSETS, _BYTES), cache=True, nogil=True)
def has_edges(offsets, data):  # type: ignore[no-untyped-def]
    """Tell whether some text may begin or end with white space (any byte beyond ASCII may)."""
    base = data.ctypes.data
    for row in range(len(offsets) - 1):
        at, end = base + offsets[row], base + offsets[row + 1]
        if at == end:
            continue
        first, last = byte(at), byte(end - 1)
        if _is_space(first) or _is_space(last) or (first | last) >= 128:
            return True
    return False


@njit(types.void(_OFFSETS, _BYTES, types.int64[::1], _STATE), cache=True, nogil=True)
def to_bigint(offsets, data, out, state):  # type: ignore[no-untyped-def]
    """Read whole numbers: a sign, digits, and at most a point with zeros behind it."""
    base = data.ctypes.data
    for row in range(len(out)):
        at, end = _inside(base + offsets[row], base + offsets[row + 1])
        negative = at < end and byte(at) == _MINUS
        if at < end and (byte(at) == _MINUS or byte(at) == _PLUS):
            at += 1
        value = np.uint64(0)
        begin = at
        fits = True
        while at < end and _is_digit(byte(at)):
            digit = np.uint64(byte(at) - _ZERO)
            fits = fits and bool(value < np.uint64(922_337_203_685_477_580))
            value = value * np.uint64(10) + digit
            at += 1
        digits = at - begin
        whole = digits > 0 and (fits or (digits <= 19 and value <= np.uint64(_TOP)))
        if at < end and byte(at) == _DOT:
            at += 1
            while at < end and byte(at) == _ZERO:
                at += 1
        good = whole and at == end
        state[row] = EXACT if good else NULL
        out[row] = (-np.int64(value) if negative else np.int64(value)) if good else 0


@inner(types.Tuple((types.int64, types.int64, types.boolean))(types.int64, types.int64))
def _exponent(at, end):  # type: ignore[no-untyped-def]
    """Read what stands behind an `e`: value (held below 100000), where it ends, and whether it is one."""
    negative = at < end and byte(at) == _MINUS
    if at < end and (byte(at) == _MINUS or byte(at) == _PLUS):
        at += 1
    begin = at
    value = 0
    while at < end and _is_digit(byte(at)):
        value = min(value * 10 + byte(at) - _ZERO, 99_999)
        at += 1
    return (-value if negative else value), at, at > begin


@inner(types.Tuple((types.float64, types.uint8))(types.int64, types.int64))
def _float(at, end):  # type: ignore[no-untyped-def]
    negative = at < end and byte(at) == _MINUS
    if at < end and (byte(at) == _MINUS or byte(at) == _PLUS):
        at += 1
    mantissa = np.int64(0)
    digits = 0
    behind = 0
    seen_dot = False
    while at < end and (_is_digit(byte(at)) or (byte(at) == _DOT and not seen_dot)):
        if byte(at) == _DOT:
            seen_dot = True
        else:
            if digits < 18:
                mantissa = mantissa * 10 + (byte(at) - _ZERO)
            digits += 1
            behind += seen_dot
        at += 1
    power = 0
    good = digits > 0
    if good and at < end and (byte(at) | 32) == 101:
        power, at, good = _exponent(at + 1, end)
    if not good or at < end:
        return 0.0, np.uint8(NULL)
    power -= behind
    if digits > 15 or power > 22 or power < -22:
        return 0.0, np.uint8(SLOW)
    value = np.float64(mantissa)
    value = value * _TENS[power] if power >= 0 else value / _TENS[-power]
    return (-value if negative else value), np.uint8(EXACT)


@njit(types.void(_OFFSETS, _BYTES, types.float64[::1], _STATE), cache=True, nogil=True)
def to_float(offsets, data, out, state):  # type: ignore[no-untyped-def]
    """Read decimal numbers exactly as Python's `float` would, for texts where doubles make that simple."""
    base = data.ctypes.data
    for row in range(len(out)):
        at, end = _inside(base + offsets[row], base + offsets[row + 1])
        out[row], state[row] = _float(at, end)


@njit(types.int64(types.int64, types.int64, types.int64), cache=True, inline="always")
def _number(at, width, end):  # type: ignore[no-untyped-def]
    """Read exactly `width` digits, or say -1."""
    if at + width > end:
        return _BAD
    value = np.int64(0)
    for place in range(at, at + width):
        if not _is_digit(byte(place)):
            return _BAD
        value = value * 10 + (byte(place) - _ZERO)
    return value


@inner("int64(int64, int64, int64)")
def _days(year, month, day):  # type: ignore[no-untyped-def]
    """Days since 1970-01-01 in the Gregorian calendar (counted in eras of 400 years from March)."""
    year -= month <= 2
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


@inner(_READ(types.int64, types.int64))
def _date(at, end):  # type: ignore[no-untyped-def]
    """Read YYYY-MM-DD: days since 1970, and 1 where it is a date."""
    year, month, day = _number(at, 4, end), _number(at + 5, 2, end), _number(at + 8, 2, end)
    if year < 1 or month < 1 or month > 12 or day < 1:
        return 0, 0
    if byte(at + 4) != _MINUS or byte(at + 7) != _MINUS:
        return 0, 0
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if day > _MONTH_DAYS[month - 1] + leap:
        return 0, 0
    return _days(year, month, day), 1


@inner(_READ(types.int64, types.int64))
def _fraction(at, end):  # type: ignore[no-untyped-def]
    """Read the digits behind the point of the seconds: microseconds, and where they end (-1: none)."""
    micros = np.int64(0)
    scale = np.int64(100_000)
    begin = at
    while at < end and _is_digit(byte(at)):
        micros += (byte(at) - _ZERO) * scale
        scale //= 10
        at += 1
    return micros, (at if begin < at <= begin + 9 else _BAD)


@inner(_READ(types.int64, types.int64))
def _clock(at, end):  # type: ignore[no-untyped-def]
    """Read HH:MM[:SS[.fraction]]: microseconds of the day, and where it ends (-1: not a time)."""
    hour, minute = _number(at, 2, end), _number(at + 3, 2, end)
    if hour < 0 or hour > 23 or minute < 0 or minute > 59 or byte(at + 2) != _COLON:
        return 0, _BAD
    micros = (hour * 60 + minute) * 60_000_000
    at += 5
    if at < end and byte(at) == _COLON:
        second = _number(at + 1, 2, end)
        if second < 0 or second > 59:
            return 0, _BAD
        micros += second * 1_000_000
        at += 3
        if at < end and byte(at) == _DOT:
            part, at = _fraction(at + 1, end)
            micros += part
    return micros, at


@inner(_READ(types.int64, types.int64))
def _zone(at, end):  # type: ignore[no-untyped-def]
    """Read nothing, Z, +HH, +HHMM or +HH:MM: microseconds to take away, and 1 where it is a zone."""
    if at == end or (at + 1 == end and (byte(at) | 32) == 122):
        return 0, 1
    if byte(at) != _PLUS and byte(at) != _MINUS:
        return 0, 0
    hour = _number(at + 1, 2, end)
    minute = np.int64(0)
    rest = end - at - 3
    if rest == 2:
        minute = _number(at + 3, 2, end)
    elif rest == 3 and byte(at + 3) == _COLON:
        minute = _number(at + 4, 2, end)
    elif rest != 0:
        return 0, 0
    if hour < 0 or hour > 14 or minute < 0 or minute > 59:
        return 0, 0
    micros = (hour * 60 + minute) * 60_000_000
    return (micros if byte(at) == _PLUS else -micros), 1


@inner(_READ(types.int64, types.int64))
def _moment(at, end):  # type: ignore[no-untyped-def]
    """Read a date, or a date and a time: microseconds since 1970 UTC, and 1 where it is one."""
    days, good = _date(at, end)
    at += 10
    if not good or at == end:
        return days * _DAY_US, good
    if (byte(at) | 32) != 116 and byte(at) != 32:
        return 0, 0
    micros, at = _clock(at + 1, end)
    if at < 0:
        return 0, 0
    shift, good = _zone(at, end)
    return days * _DAY_US + micros - shift, good


@njit(types.void(_OFFSETS, _BYTES, types.int64[::1], _STATE), cache=True, nogil=True)
def to_datetime(offsets, data, out, state):  # type: ignore[no-untyped-def]
    """Read ISO 8601 times, without a zone as UTC; digits behind the microsecond are dropped.

    The lines of an invoice mostly share their time, so a text like the one before is not read again.
    """
    base = data.ctypes.data
    limit = base + len(data)
    before, length = base, np.int64(-1)
    for row in range(len(out)):
        begin = base + offsets[row]
        size = base + offsets[row + 1] - begin
        if size == length and same(begin, before, size, limit):
            out[row], state[row] = out[row - 1], state[row - 1]
        else:
            at, end = _inside(begin, begin + size)
            out[row], state[row] = _moment(at, end)
        before, length = begin, size
