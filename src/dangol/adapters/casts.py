"""What TRY_CAST and TRIM of Stream Analytics mean here, on whole columns of text or of any other type.

One meaning for both: a value that is not clearly of the wanted type becomes null, never a guess.

>>> cast_column("bigint", pa.array(["6", " 6 ", "6.0", "2.7", "1_000"])).to_pylist()
[6, 6, 6, None, None]
>>> cast_column("datetime", pa.array(["1970-01-01T09:00:00+09:00", "12/1/2010 8:26"])).to_pylist()
[0, None]
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dangol.adapters import casts_kernel as kernel

__all__ = ["ARROW_TYPES", "cast_column"]

ARROW_TYPES = {
    "text": pa.string(),
    "bigint": pa.int64(),
    "float": pa.float64(),
    "datetime": pa.int64(),
}
"""The Arrow type of a column of each type of the rule language; a datetime is microseconds UTC."""

_WHOLE = 2.0**53
_FIRST_US = -62_135_596_800_000_000  # 0001-01-01
_LAST_US = 253_402_300_799_999_999  # the last microsecond of 9999


def cast_column(operation: str, column: pa.Array) -> pa.Array:
    """Apply `operation` (text, bigint, float, datetime, trim, ltrim or rtrim) to each value of `column`."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.string())
    return _OPERATIONS[operation](column)


def _buffers(column: pa.Array) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Get the offsets and bytes of a text column, without a copy."""
    _, offsets, data = column.buffers()
    if offsets is None or not len(column):
        return np.zeros(1, np.int32), np.zeros(0, np.uint8)
    starts = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    return starts, np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)


def _finished(column: pa.Array, out: NDArray[np.generic], state: NDArray[np.uint8]) -> pa.Array:
    good = state == kernel.EXACT
    if column.null_count:
        good &= pc.is_valid(column).to_numpy(zero_copy_only=False)
    return pa.array(out) if good.all() else pa.array(out, mask=~good)


def _text(column: pa.Array) -> pa.Array:
    if pa.types.is_string(column.type):
        return column
    if pa.types.is_floating(column.type):
        return _text_of_floats(column.cast(pa.float64()))
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), pa.string())
    return column.cast(pa.string())


def _text_of_floats(column: pa.Array) -> pa.Array:
    """17850.0 is "17850": a customer number read from a file that had gaps comes as a float."""
    values = column.to_numpy(zero_copy_only=False)
    with np.errstate(invalid="ignore"):
        whole = (np.floor(values) == values) & (np.abs(values) <= _WHOLE)
    missing = np.isnan(values)
    if not (whole | missing).all():
        other = pa.array(values, mask=missing).cast(pa.string())
        numbers = pa.array(np.where(whole, values, 0).astype(np.int64)).cast(pa.string())
        return pc.if_else(pa.array(whole), numbers, other)
    return pa.array(np.where(missing, 0, values).astype(np.int64), mask=missing).cast(pa.string())


def _bigint(column: pa.Array) -> pa.Array:
    if pa.types.is_int64(column.type):
        return column
    if pa.types.is_signed_integer(column.type) or pa.types.is_unsigned_integer(column.type):
        return column.cast(pa.int64(), safe=False) if column.type != pa.uint64() else _bigint(_text(column))
    if not pa.types.is_string(column.type):
        return _whole(_float(column))
    out, state = np.empty(len(column), np.int64), np.empty(len(column), np.uint8)
    kernel.to_bigint(*_buffers(column), out, state)
    return _finished(column, out, state)


def _whole(column: pa.Array) -> pa.Array:
    """Whole floats as integers; any other is null."""
    values = column.to_numpy(zero_copy_only=False)
    with np.errstate(invalid="ignore"):
        good = (np.floor(values) == values) & (np.abs(values) <= _WHOLE)
    if good.all():
        return pa.array(values.astype(np.int64))
    return pa.array(np.where(good, values, 0).astype(np.int64), mask=~good)


def _float(column: pa.Array) -> pa.Array:
    if pa.types.is_string(column.type):
        return _float_of_text(column)
    if pa.types.is_floating(column.type):
        values = column.cast(pa.float64())
        missing = np.isnan(values.to_numpy(zero_copy_only=False))
        return pa.array(values.to_numpy(zero_copy_only=False), mask=missing) if missing.any() else values
    if pa.types.is_integer(column.type) or pa.types.is_decimal(column.type):
        return column.cast(pa.float64(), safe=False)
    return pa.nulls(len(column), pa.float64())


def _float_of_text(column: pa.Array) -> pa.Array:
    out, state = np.empty(len(column), np.float64), np.empty(len(column), np.uint8)
    kernel.to_float(*_buffers(column), out, state)
    for row in np.flatnonzero(state == kernel.SLOW).tolist():
        text = column[row].as_py()
        if text is not None:
            out[row], state[row] = float(text), kernel.EXACT
    return _finished(column, out, state)


def _datetime(column: pa.Array) -> pa.Array:
    if pa.types.is_string(column.type):
        out, state = np.empty(len(column), np.int64), np.empty(len(column), np.uint8)
        kernel.to_datetime(*_buffers(column), out, state)
        return _finished(column, out, state)
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("ms"))
    if not pa.types.is_timestamp(column.type):
        return pa.nulls(len(column), pa.int64())
    micros = _micros(column)
    values = micros.fill_null(0).to_numpy()
    outside = (values < _FIRST_US) | (values > _LAST_US)
    return pc.if_else(pa.array(outside), None, micros) if outside.any() else micros


def _micros(column: pa.Array) -> pa.Array:
    """Timestamps of any unit as microseconds; what does not fit is out of the calendar anyway."""
    ticks = column.cast(pa.int64())
    if column.type.unit == "us":
        return ticks
    if column.type.unit == "ns":
        return pa.array(ticks.fill_null(0).to_numpy() // 1000, mask=_missing(ticks))
    factor = 1000 if column.type.unit == "ms" else 1_000_000
    low, high = _FIRST_US // factor - 1, _LAST_US // factor + 1
    bounded = np.clip(ticks.fill_null(0).to_numpy(), low, high)
    return pa.array(bounded * factor, mask=_missing(ticks))


def _missing(column: pa.Array) -> NDArray[np.bool_]:
    missing: NDArray[np.bool_] = pc.is_null(column).to_numpy(zero_copy_only=False)
    return missing


def _trimmer(strip: Callable[[pa.Array], pa.Array]) -> Callable[[pa.Array], pa.Array]:
    def trim(column: pa.Array) -> pa.Array:
        column = _text(column)
        return strip(column) if kernel.has_edges(*_buffers(column)) else column

    return trim


_OPERATIONS: dict[str, Callable[[pa.Array], pa.Array]] = {
    "text": _text,
    "bigint": _bigint,
    "float": _float,
    "datetime": _datetime,
    "trim": _trimmer(pc.utf8_trim_whitespace),
    "ltrim": _trimmer(pc.utf8_ltrim_whitespace),
    "rtrim": _trimmer(pc.utf8_rtrim_whitespace),
}
