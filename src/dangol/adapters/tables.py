"""Turns any file of rows and columns into blocks of lines: numbers its rows, keeps its types, counts faults.

What a format must bring is a `Table`; `TableSource` makes a `Source` of it. Row numbers count every row
behind the header, from 0, bad ones too: they are the position and, in a file with no `EventId`, the ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dangol.adapters.ndjson_write import to_ndjson
from dangol.core.schema import FAULTS, WIRE_FIELDS, Int64, LineBlock
from dangol.errors import BadFile

__all__ = ["EVENT_ID", "Rows", "Table", "TableSource", "numbered"]

EVENT_ID = "EventId"
_DIGITS = 9
_WRONG_COLUMNS = FAULTS.index("wrong_number_of_columns")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Consecutive rows of a table: the asked columns, and the raw text of rows that are not in columns."""

    columns: pa.RecordBatch
    """One row for each row of the file; the row of a bad one is all null."""
    bad: Mapping[int, bytes] = field(default_factory=dict)
    """Place in `columns` -> raw text."""


class Table(Protocol):
    """A file of rows and columns. Its reader turns whatever its library raises into `BadFile`."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names in the file's header."""
        ...

    @property
    def total(self) -> int | None:
        """How many `unit`s there are to read, where that is cheap to know."""
        ...

    @property
    def unit(self) -> str:
        """Return "rows" or "bytes"."""
        ...

    @property
    def done(self) -> int:
        """How many `unit`s have been read."""
        ...

    def rows(self, columns: list[str], start: int, most: int) -> Iterator[Rows]:
        """Yield the rows from row `start` on, at most `most` at a time, in bounded memory."""
        ...


class TableSource:
    """A `Source` over a `Table`: its position is the number of rows that are done.

    - name: the key under which the position is stored
    - file: what errors call the file
    - stem: what made ids begin with
    """

    def __init__(self, table: Table, *, name: str, file: str, stem: str, block_rows: int) -> None:
        self._table = table
        self._name = name
        self._file = file
        self._stem = stem
        self._block_rows = block_rows

    @property
    def name(self) -> str:
        """The key under which the position is stored."""
        return self._name

    @property
    def total(self) -> int | None:
        """How many `unit`s there are to read; None while that is not known."""
        return self._table.total

    @property
    def unit(self) -> str:
        """Return "rows" or "bytes"."""
        return self._table.unit

    @property
    def done(self) -> int:
        """How many `unit`s have been read: what a progress bar shows."""
        return self._table.done

    def blocks(self, fields: tuple[str, ...], after: str | None) -> Iterator[tuple[LineBlock, str]]:
        """Yield (block, rows done as text), beginning behind `after`."""
        present = self._table.columns
        make_ids = EVENT_ID in fields and EVENT_ID not in present
        wanted = [name for name in fields if not (make_ids and name == EVENT_ID)]
        self._check(wanted, present)
        at = int(after) if after else 0
        for rows in self._table.rows(wanted, at, self._block_rows):
            batch = _plain(rows.columns, self._file)
            if make_ids:
                batch = _with_ids(batch, fields, self._ids(at, rows))
            at += len(batch)
            yield _block(batch, rows.bad), str(at)

    def _ids(self, at: int, rows: Rows) -> pa.Array:
        numbers = np.arange(at, at + len(rows.columns), dtype=np.int64)
        missing = np.zeros(len(numbers), bool)
        missing[list(rows.bad)] = True
        return numbered(f"{self._stem}-", numbers, missing if rows.bad else None)

    def _check(self, wanted: list[str], present: tuple[str, ...]) -> None:
        missing = [name for name in wanted if name not in present]
        if missing:
            message = (
                f"{self._file} has no column {', '.join(missing)}; it has {', '.join(present) or 'none'}: "
                "write the file's own column names into the cleanse rule file"
            )
            raise BadFile(message)
        twice = sorted({name for name in wanted if present.count(name) > 1})
        if twice:
            message = f"{self._file} has more than one column {', '.join(twice)}: rename or remove one"
            raise BadFile(message)


def numbered(prefix: str, numbers: Int64, missing: NDArray[np.bool_] | None = None) -> pa.Array:
    """Return `prefix` and the nine-digit number for each of `numbers`, null where `missing`.

    Writes the characters straight into one buffer: an id costs nanoseconds, not a Python object.

    >>> numbered("shop-1-", np.array([17])).to_pylist()
    ['shop-1-000000017']
    """
    if len(numbers) and int(numbers.max()) >= 10**_DIGITS:
        texts = [f"{prefix}{number:09d}" for number in numbers.tolist()]
        return pa.array(texts, pa.string(), mask=missing)
    head = prefix.encode()
    width = len(head) + _DIGITS
    parts = np.dtype([("head", f"V{len(head)}"), ("a", "V3"), ("b", "V3"), ("c", "V3")])
    characters: NDArray[np.void] = np.frombuffer(bytearray((head + bytes(_DIGITS)) * len(numbers)), parts)
    rest = numbers.astype(np.uint32)
    for place in "cba":
        above = rest // np.uint32(1000)
        characters[place] = _thousand()[rest - above * np.uint32(1000)]
        rest = above
    offsets = np.arange(len(numbers) + 1, dtype=np.int32) * np.int32(width)
    valid = None if missing is None else pa.py_buffer(np.packbits(~missing, bitorder="little"))
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(characters), valid)


@cache
def _thousand() -> NDArray[np.void]:
    """Return the three digits of each number below 1000, as one value of three bytes."""
    digits = "".join(f"{number:03d}" for number in range(1000)).encode()
    return np.frombuffer(digits, np.dtype("V3"))


def _with_ids(batch: pa.RecordBatch, fields: tuple[str, ...], ids: pa.Array) -> pa.RecordBatch:
    columns = [ids if name == EVENT_ID else batch.column(name) for name in fields]
    return pa.RecordBatch.from_arrays(columns, names=list(fields))


def _wire_order(name: str) -> tuple[int, str]:
    return (WIRE_FIELDS.index(name), "") if name in WIRE_FIELDS else (len(WIRE_FIELDS), name)


def _block(batch: pa.RecordBatch, bad: Mapping[int, bytes]) -> LineBlock:
    fault = np.zeros(len(batch), np.uint8)
    if bad:
        fault[list(bad)] = _WRONG_COLUMNS
    return LineBlock(fields=batch, fault=fault, raw=_RowText(batch, bad))


@dataclass(frozen=True, slots=True)
class _RowText:
    """The text of a row: as it stands in the file if it was bad, else as a JSON object of the read fields."""

    batch: pa.RecordBatch
    bad: Mapping[int, bytes]

    def text(self, row: int) -> bytes:
        """Return the text of row `row`."""
        return self.texts([row])[0]

    def texts(self, rows: Sequence[int]) -> list[bytes]:
        """Return the texts of several rows."""
        good = [row for row in rows if row not in self.bad]
        names = sorted(
            self.batch.schema.names, key=_wire_order
        )  # as replay sends it, so that it is known again
        written = iter(to_ndjson(self.batch.select(names).take(pa.array(good, pa.int64()))).split(b"\n"))
        return [self.bad[row] if row in self.bad else next(written) for row in rows]


def _plain(batch: pa.RecordBatch, file: str) -> pa.RecordBatch:
    """Return the columns in the types that the rules know: other kinds of text become string."""
    columns = [
        _plain_column(column, name, file) for name, column in zip(batch.schema.names, batch, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _plain_column(column: pa.Array, name: str, file: str) -> pa.Array:
    kind = column.type
    if pa.types.is_nested(kind):
        message = f"column {name} of {file} holds {kind}, not single values: flatten it before loading"
        raise BadFile(message)
    if pa.types.is_dictionary(kind):
        return _plain_column(column.dictionary_decode(), name, file)
    if not (pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or _is_bytes(kind)):
        return column.cast(pa.string()) if pa.types.is_null(kind) else column
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid as error:
        message = f"column {name} of {file} is not UTF-8 text: {error}"
        raise BadFile(message) from error


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))
