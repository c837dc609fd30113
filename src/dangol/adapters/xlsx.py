"""Reads Excel workbooks: every cell as text, written the way NDJSON would write it.

A cell is turned into text by itself, never by what its column mostly holds, so that a row means the same
wherever it stands: 17850.0 becomes "17850", a date "2010-12-01T08:26:00", an empty cell null.
"""

from __future__ import annotations

import datetime as dt
import re
import zipfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook

from dangol.adapters.tables import Rows
from dangol.errors import BadFile

__all__ = ["XlsxTable"]

Progress = Callable[[int, int | None], None]
_DIMENSION = re.compile(rb'<dimension ref="[A-Z]+\d+:[A-Z]+(\d+)"')


class XlsxTable:
    """A `Table` over the sheets of a workbook that have the header of its first sheet.

    Opening it loads the first sheet (some seconds for half a million rows), so that its header is known.
    """

    unit = "rows"

    def __init__(self, path: Path, *, progress: Progress | None = None) -> None:
        self._path = path
        self._progress = progress
        self.done = 0
        self.total = _rows_said(path)
        try:
            self._book = CalamineWorkbook.from_path(str(path))
            self._first = self._book.get_sheet_by_index(0)
            self.columns = _header(self._first)
        except (CalamineError, OSError, IndexError) as error:
            raise self._damaged(error) from error

    def rows(self, columns: list[str], start: int, most: int) -> Iterator[Rows]:
        """Yield the rows from `start` on, of all sheets with the same header, in the order of the sheets."""
        places = [self.columns.index(name) for name in columns]
        schema = pa.schema([(name, pa.string()) for name in columns])
        rows = islice(self._cells(), start, None)
        self.done = start
        while block := list(islice(rows, most)):
            texts = [pa.array([_text(row[place]) for row in block], pa.string()) for place in places]
            self.done += len(block)
            if self._progress:
                self._progress(self.done, self.total)
            yield Rows(columns=pa.RecordBatch.from_arrays(texts, schema=schema))

    def _cells(self) -> Iterator[list[object]]:
        try:
            for number in range(len(self._book.sheet_names)):
                sheet = self._book.get_sheet_by_index(number) if number else self._first
                if _header(sheet) == self.columns:
                    yield from islice(sheet.iter_rows(), 1, None)
        except CalamineError as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> BadFile:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return BadFile(f"{self._path} cannot be read as an Excel workbook ({reason}): get the file again")


def _header(sheet: CalamineSheet) -> tuple[str, ...]:
    return tuple(_text(cell) or "" for cell in next(iter(sheet.iter_rows()), []))


def _rows_said(path: Path) -> int | None:
    """Return the rows that the first sheet says it has; nothing depends on it but a progress bar."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open("xl/worksheets/sheet1.xml") as sheet:
            said = _DIMENSION.search(sheet.read(4096))
    except (zipfile.BadZipFile, KeyError, OSError):
        return None
    return int(said[1]) - 1 if said else None


def _text(cell: object) -> str | None:
    """Return a cell as text; None for an empty one."""
    if isinstance(cell, str):
        return cell or None
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, dt.datetime | dt.date | dt.time):
        return cell.isoformat()
    return str(cell)
