r"""Writes columns as NDJSON, whole columns at a time: what replay, the simulator and the bench send.

Numbers stay numbers, times become ISO 8601, columns named in `as_text` become strings whatever their
type, and a null or a number that JSON cannot write (NaN, infinity) becomes null.

>>> to_ndjson(pa.record_batch({"CustomerID": [17850, None], "UnitPrice": [2.55, 3.0]}))
b'{"CustomerID":"17850","UnitPrice":2.55}\n{"CustomerID":null,"UnitPrice":3.0}\n'
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["to_ndjson"]

_ROWS = 1 << 16
_NULL = pa.scalar(None, pa.string())
_QUOTE, _BACKSLASH, _SPACE = 34, 92, 32


@cache
def _text(text: str) -> pa.Scalar:
    """Return a text as a scalar; making one anew looks for pandas in vain, which takes longer than its use."""
    return pa.scalar(text)


def to_ndjson(rows: pa.RecordBatch | pa.Table, *, as_text: Sequence[str] = ("CustomerID",)) -> bytes:
    """Return `rows` as JSON objects, one a line, with every column in order."""
    table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
    parts = [_lines(batch, as_text) for batch in table.to_batches(max_chunksize=_ROWS)]
    return b"".join(parts)


def _lines(batch: pa.RecordBatch, as_text: Sequence[str]) -> bytes:
    if not batch.num_columns:
        return b"{}\n" * len(batch)
    pieces: list[pa.Array | pa.Scalar] = []
    lead = "{"
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        before, values, after = _values(column, name in as_text)
        pieces += [_text(lead + json.dumps(name, ensure_ascii=False) + ":" + before), values]
        lead = after + ","
    pieces.append(_text(lead[:-1] + "}\n"))
    return _characters(pc.binary_join_element_wise(*pieces, _text("")))


def _values(column: pa.Array, as_text: bool) -> tuple[str, pa.Array, str]:
    """Return (text before, values as JSON, text behind); quotes move outside where no value is null."""
    kind = column.type
    if not as_text and pa.types.is_floating(kind):
        return "", _floats(column), ""
    if not as_text and (pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind)):
        return "", pc.fill_null(column.cast(pa.string()), _text("null")), ""
    text = _escaped(_texts(column))
    if not text.null_count:
        return '"', text, '"'
    return (
        "",
        pc.fill_null(pc.binary_join_element_wise(_text(""), text, _text(""), _text('"')), _text("null")),
        "",
    )


def _floats(column: pa.Array) -> pa.Array:
    """Write doubles with a point or an exponent, so that a price of 3 goes out as 3.0 and not as a count."""
    text = pc.if_else(pc.is_finite(column), column.cast(pa.string()), _NULL)
    whole = pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), 1e6))  # Arrow writes 1e+10
    if pc.any(whole).as_py():
        text = pc.if_else(
            pc.fill_null(whole, False), pc.binary_join_element_wise(text, _text("0"), _text(".")), text
        )
    return pc.fill_null(text, _text("null"))


def _texts(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return column.dictionary_decode().cast(pa.string())
    if not pa.types.is_timestamp(kind):
        return column.cast(pa.string())
    # A whole second needs no fraction, and Arrow writes one for any unit that is finer.
    ticks = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}[kind.unit]
    instants = column.cast(pa.timestamp(kind.unit, "UTC")) if kind.tz else column
    counts = instants.cast(pa.int64()).drop_null().to_numpy()
    if not (counts % ticks).any():
        instants = instants.cast(pa.timestamp("s", "UTC" if kind.tz else None))
    return pc.binary_replace_slice(instants.cast(pa.string()), 10, 11, "T")


def _escaped(texts: pa.Array) -> pa.Array:
    """Escape what JSON wants escaped; columns are searched as a whole first, for most need nothing."""
    characters = np.frombuffer(_characters(texts), np.uint8)
    if (characters < _SPACE).any():
        written = [text and json.dumps(text, ensure_ascii=False)[1:-1] for text in texts.to_pylist()]
        return pa.array(written, pa.string())
    if (characters == _BACKSLASH).any():
        texts = pc.replace_substring(texts, "\\", "\\\\")
    if (characters == _QUOTE).any():
        texts = pc.replace_substring(texts, '"', '\\"')
    return texts


def _characters(text: pa.Array) -> bytes:
    """Return the characters of a string array, which Arrow keeps end to end."""
    _, offsets, data = text.buffers()
    if data is None or not len(text):
        return b""
    ends = np.frombuffer(offsets, np.int32)[text.offset : text.offset + len(text) + 1]
    return bytes(memoryview(data)[int(ends[0]) : int(ends[-1])])
