"""Reads CSV, plain or gzipped, in any encoding: every value as text, a row with too many cells as a fault."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc

from dangol.adapters.byte_streams import Utf8Bytes
from dangol.adapters.tables import Rows
from dangol.errors import BadFile

__all__ = ["DelimitedTable"]

_BLOCK_BYTES = 1 << 22
"""Read at once; also the longest row that can be read."""


class DelimitedTable:
    """A `Table` over a file of delimited text whose first row names the columns.

    The delimiter is the one of comma, semicolon and tab that the header has most of. Empty cells are null.
    """

    unit = "bytes"

    def __init__(self, path: Path, *, encoding: str = "utf-8") -> None:
        self._path = path
        self._encoding = encoding
        self._stream = Utf8Bytes(path, encoding)
        self._delimiter, self.columns = self._header()

    @property
    def total(self) -> int:
        """The size of the file on the disk."""
        return self._path.stat().st_size

    @property
    def done(self) -> int:
        """How many bytes of the file have been read."""
        return self._stream.done

    def rows(self, columns: list[str], start: int, most: int) -> Iterator[Rows]:
        """Yield the rows from `start` on; the ones before it are read and passed over."""
        at = 0
        for rows in self._read(columns):
            count = len(rows.columns)
            for first in range(min(max(start - at, 0), count), count, most):
                yield _part(rows, first, most)
            at += count

    def _header(self) -> tuple[str, tuple[str, ...]]:
        stream = io.BufferedReader(Utf8Bytes(self._path, self._encoding))
        text = io.TextIOWrapper(stream, "utf-8", newline="")
        line = text.readline(_BLOCK_BYTES)
        delimiter = max(",;\t", key=line.count)
        return delimiter, tuple(next(csv.reader([line], delimiter=delimiter), []))

    def _read(self, columns: list[str]) -> Iterator[Rows]:
        """Yield all rows in order, with the rows that pyarrow sorts out put back in their places."""
        bad: dict[int, bytes] = {}

        def keep(row: pc.InvalidRow) -> str:
            bad[row.number - 2] = row.text.encode()  # pyarrow counts from 1, and the header is row 1
            return "skip"

        self._stream = Utf8Bytes(self._path, self._encoding)
        at = 0
        try:
            for batch in self._open(columns, keep):
                rows = _merged(batch.select(columns), bad, at)
                at += len(rows.columns)
                if len(rows.columns):
                    yield rows
        except pa.ArrowInvalid as error:
            raise self._damaged(error, at) from error

    def _open(self, columns: list[str], keep: object) -> Iterator[pa.RecordBatch]:
        reader = pc.open_csv(
            pa.PythonFile(io.BufferedReader(self._stream), mode="r"),
            # With threads pyarrow does not say which row a bad one is.
            read_options=pc.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False),
            parse_options=pc.ParseOptions(
                delimiter=self._delimiter, newlines_in_values=True, invalid_row_handler=keep
            ),
            convert_options=pc.ConvertOptions(
                include_columns=columns,
                column_types=dict.fromkeys(columns, pa.string()),
                strings_can_be_null=True,
                null_values=[""],
                check_utf8=False,  # Utf8Bytes did
            ),
        )
        yield from reader
        # Bad rows behind the last good one come with no batch of their own.
        yield pa.RecordBatch.from_pylist([], schema=pa.schema([(name, pa.string()) for name in columns]))

    def _damaged(self, error: Exception, at: int) -> BadFile:
        if "straddling" in str(error):
            reason = f"a row behind row {at} is over some {_BLOCK_BYTES >> 20} MB, or a quote is never closed"
        else:
            reason = str(error).splitlines()[0]
        return BadFile(f"{self._path} cannot be read as CSV behind row {at} ({reason}): mend the file")


def _merged(good: pa.RecordBatch, bad: dict[int, bytes], at: int) -> Rows:
    """Return the rows from `at` on: `good` and a row of nulls for each bad one, which leaves `bad`."""
    end = at + len(good)
    here: dict[int, bytes] = {}
    for number in sorted(bad):
        if number > end:
            break
        here[number - at] = bad.pop(number)
        end += 1
    if not here:
        return Rows(columns=good)
    places = np.zeros(end - at, np.int64)
    is_bad = np.zeros(end - at, bool)
    is_bad[list(here)] = True
    places[~is_bad] = np.arange(len(good))
    return Rows(columns=good.take(pa.array(places, mask=is_bad)), bad=here)


def _part(rows: Rows, first: int, most: int) -> Rows:
    bad = {row - first: text for row, text in rows.bad.items() if first <= row < first + most}
    return Rows(columns=rows.columns.slice(first, most), bad=bad)
