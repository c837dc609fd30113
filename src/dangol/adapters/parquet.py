"""Reads parquet: only the columns that are asked for, a few row pages at a time, types as they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dangol.adapters.tables import Rows
from dangol.errors import BadFile

__all__ = ["ParquetTable"]


class ParquetTable:
    """A `Table` over a parquet file."""

    unit = "rows"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done = 0
        try:
            self._file = pq.ParquetFile(path, memory_map=True)
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from error

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self._file.schema_arrow.names)

    @property
    def total(self) -> int:
        """The number of rows, from the file's own footer."""
        return int(self._file.metadata.num_rows)

    @property
    def done(self) -> int:
        """The number of rows read."""
        return self._done

    def rows(self, columns: list[str], start: int, most: int) -> Iterator[Rows]:
        """Yield the rows from `start` on; row groups before it are not touched."""
        groups, first = self._groups(start)
        self._done = start
        skip = start - first
        try:
            for batch in self._file.iter_batches(
                batch_size=most, row_groups=groups, columns=columns, use_threads=False
            ):
                kept = batch.select(columns).slice(min(skip, len(batch)))
                skip -= len(batch) - len(kept)
                self._done += len(kept)
                if len(kept):
                    yield Rows(columns=kept)
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from error

    def _groups(self, start: int) -> tuple[list[int], int]:
        """Return the row groups that hold row `start` and all behind it, and their first row."""
        first = 0
        counts = [self._file.metadata.row_group(group).num_rows for group in range(self._file.num_row_groups)]
        for group, count in enumerate(counts):
            if first + count > start:
                return list(range(group, len(counts))), first
            first += count
        return [], start

    def _damaged(self, error: Exception) -> BadFile:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return BadFile(f"{self._path} cannot be read as parquet ({reason}): get the file again")
