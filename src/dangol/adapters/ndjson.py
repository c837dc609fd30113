"""Reads JSON lines into columns without making a Python object for each line.

A line is one JSON object; blank lines are skipped. Lines that the fast lane (`ndjson_kernel.py`) does not
understand beyond doubt are read again by Python's own JSON reader, with the same result for the same line.
The first fault in this order is told: line_too_long, not_utf8, too_deep (brackets nested over 64 deep),
not_json (also NaN, Infinity, and an escaped half of a surrogate pair), not_an_object, nested_value.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dangol.adapters import ndjson_kernel as kernel
from dangol.adapters import text_columns_kernel as columns_kernel
from dangol.core.schema import FAULTS, LineBlock
from dangol.errors import TooLarge, UsageError

__all__ = ["MAX_BYTES", "Lines", "parse_json_body", "parse_ndjson"]

MAX_BYTES = 1 << 30
"""The most bytes that are read at once; cut a longer source into blocks."""

_BOM = b"\xef\xbb\xbf"
_ALIGNED = 64
_NEWLINE = 10


class Lines:
    """The bytes that were read, and where each line lies in them."""

    def __init__(self, data: bytes, lines: NDArray[np.int32]) -> None:
        self._data = data
        self._lines = lines

    def text(self, row: int) -> bytes:
        """Return the bytes of line `row` without its line end."""
        begin, end, _ = self._lines[row].tolist()
        return self._data[begin:end]

    def texts(self, rows: Sequence[int]) -> list[bytes]:
        """Return the bytes of several lines."""
        return [self.text(row) for row in rows]

    @property
    def line_numbers(self) -> NDArray[np.int32]:
        """The number of each line in its source, counted from 1 with blank lines."""
        return self._lines[:, 2]

    def line_number(self, row: int) -> int:
        """Return the number of line `row` in its source, counted from 1 with blank lines."""
        return int(self._lines[row, 2])


class _Number(str):
    """A JSON number as it was written, with nothing behind the point if that is nothing but zeros."""

    __slots__ = ()


def parse_ndjson(
    data: bytes | memoryview, fields: tuple[str, ...], *, max_line_bytes: int = 1_048_576
) -> LineBlock:
    r"""Read `fields` out of all lines of `data`; the last line needs no line end.

    >>> block = parse_ndjson(b'{"Quantity": 6.0, "Country": null}\n[]', ("Quantity", "Country"))
    >>> block.fields.to_pylist()[0], block.fault.tolist()
    ({'Quantity': '6', 'Country': None}, [0, 2])
    """
    data = bytes(data)
    if len(data) >= MAX_BYTES:
        message = f"{len(data)} bytes of JSON lines at once are over the limit of {MAX_BYTES}; send parts"
        raise TooLarge(message)
    whole = np.frombuffer(data, np.uint8)
    names, places = _names(fields)
    rows = int(np.count_nonzero(whole == _NEWLINE)) + 1  # bytes.count takes seven times as long
    starts, lengths = np.empty((rows, len(fields)), np.int32), np.empty((rows, len(fields)), np.int32)
    lines, fate = np.empty((rows, 3), np.int32), np.empty(rows, np.uint8)
    scratch = np.empty(len(data), np.uint8)
    count = kernel.scan(
        whole,
        len(_BOM) if data.startswith(_BOM) else 0,
        not (data.isascii() or _is_utf8(data)),
        max_line_bytes,
        names,
        places,
        np.zeros(3 * kernel.PREDICTED, np.int64),
        scratch,
        starts,
        lengths,
        lines,
        fate,
    )
    fault = np.zeros(count, np.uint8)
    fault_field: dict[int, str] = {}
    for row in np.flatnonzero(fate[:count]).tolist():
        begin, end = lines[row, 0], lines[row, 1]
        lengths[row] = -1
        if fate[row] == kernel.TOO_LONG:
            fault[row] = FAULTS.index("line_too_long")
            continue
        values, name, field = _read_slowly(data[begin:end], fields)
        fault[row] = FAULTS.index(name)
        if field:
            fault_field[row] = field
        _put_values(values, int(begin), scratch, starts[row], lengths[row])
    columns = _columns(whole, scratch, starts, lengths, count)
    return LineBlock(
        fields=pa.RecordBatch.from_arrays(columns, names=list(fields)),
        fault=fault,
        fault_field=fault_field,
        raw=Lines(data, lines[:count]),
    )


def parse_json_body(data: bytes | memoryview, fields: tuple[str, ...]) -> LineBlock:
    """Read a body that is one JSON object, or an array whose elements become the lines.

    A body that is not JSON from end to end raises UsageError; an element that is not an object is a fault.
    """
    data = bytes(data).removeprefix(_BOM)
    lead = data.lstrip(b" \t\r\n")[:1]
    if kernel.depth_of(np.frombuffer(data, np.uint8)) > kernel.MAX_DEPTH:
        message = f"the body nests brackets more than {kernel.MAX_DEPTH} deep; send flat objects"
        raise UsageError(message)
    try:
        if b"\n" in data or b"\r" in data:
            json.loads(data, parse_constant=_no_constant)
        elements = msgspec.json.decode(data, type=list[msgspec.Raw]) if lead == b"[" else [_single(data)]
    except (ValueError, msgspec.MsgspecError) as error:
        message = f"the body is not JSON ({error}); send one object, an array of objects, or NDJSON"
        raise UsageError(message) from error
    flat = b"\n".join(bytes(element).translate(_FLAT) for element in elements)
    block = parse_ndjson(flat, fields, max_line_bytes=len(flat) + 1)
    broken = np.flatnonzero(
        (block.fault == FAULTS.index("not_json")) | (block.fault == FAULTS.index("not_utf8"))
    )
    if len(broken):
        name = FAULTS[block.fault[broken[0]]]
        message = f"the body is not JSON (element {broken[0] + 1}: {name}); correct it and send it again"
        raise UsageError(message)
    return block


_FLAT = bytes.maketrans(b"\r\n", b"  ")


def _single(data: bytes) -> msgspec.Raw:
    raw: msgspec.Raw = msgspec.json.decode(data, type=msgspec.Raw)
    return raw


def _names(fields: tuple[str, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    encoded = [name.encode() for name in fields]
    places = np.array([len(fields) + 1, 0, *np.cumsum([len(name) for name in encoded])], np.int64)
    return np.frombuffer(b"".join(encoded), np.uint8), places


def _is_utf8(data: bytes) -> bool:
    offsets = pa.py_buffer(np.array([0, len(data)], np.int32))
    text = pa.StringArray.from_buffers(1, offsets, pa.py_buffer(data))
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _no_constant(name: str) -> None:
    message = f"{name} is not JSON"
    raise ValueError(message)


def _written(text: str) -> _Number:
    whole, point, rest = text.partition(".")
    if point and not rest.strip("0"):
        text = whole
    return _Number("0" if text == "-0" else text)


_READER = json.JSONDecoder(parse_int=_written, parse_float=_written, parse_constant=_no_constant)


def _read_slowly(line: bytes, fields: tuple[str, ...]) -> tuple[dict[int, bytes], str, str]:
    """Read one line with Python's JSON reader: texts by field number, fault, and the field at fault."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return {}, "not_utf8", ""
    if kernel.depth_of(np.frombuffer(line, np.uint8)) > kernel.MAX_DEPTH:
        return {}, "too_deep", ""
    try:
        value = _READER.decode(text)
        json.dumps(value, ensure_ascii=False).encode() if "\\u" in text else None
    except ValueError:
        return {}, "not_json", ""
    if not isinstance(value, dict):
        return {}, "not_an_object", ""
    found: dict[int, bytes] = {}
    for number, name in enumerate(fields):
        item = value.get(name)
        if isinstance(item, (dict, list)):
            return {}, "nested_value", name
        if item is not None:
            found[number] = (("false", "true")[item] if isinstance(item, bool) else item).encode()
    return found, "", ""


def _put_values(
    values: dict[int, bytes],
    at: int,
    scratch: NDArray[np.uint8],
    starts: NDArray[np.int32],
    lengths: NDArray[np.int32],
) -> None:
    """Lay the texts of one line into `scratch`, where the line itself would lie: they are never longer."""
    for field, text in values.items():
        scratch[at : at + len(text)] = np.frombuffer(text, np.uint8)
        starts[field], lengths[field] = len(scratch) + at, len(text)
        at += len(text)


def _columns(
    data: NDArray[np.uint8],
    scratch: NDArray[np.uint8],
    starts: NDArray[np.int32],
    lengths: NDArray[np.int32],
    rows: int,
) -> Iterable[pa.Array]:
    """Build the text columns, all in one piece of memory."""
    width = starts.shape[1]
    sizes = np.zeros(width, np.int64)
    columns_kernel.totals(lengths, rows, sizes)
    room = (sizes + 2 * _ALIGNED) // _ALIGNED * _ALIGNED
    bases = np.concatenate([[0], np.cumsum(room)]).tolist()
    out = np.empty(bases[-1] + _ALIGNED, np.uint8)
    offsets = np.empty((width, rows + 1), np.int32)
    valid = np.full((width, (rows + 7) // 8), 255, np.uint8)
    columns_kernel.gather(data, scratch, starts, lengths, rows, np.array(bases[:-1]), offsets, valid, out)
    memory = pa.py_buffer(out)
    columns = []
    for field in range(width):
        text = memory.slice(bases[field], int(sizes[field]))
        columns.append(
            pa.StringArray.from_buffers(rows, pa.py_buffer(offsets[field]), text, pa.py_buffer(valid[field]))
        )
    return columns
