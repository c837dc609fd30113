"""The files that the cases read: the data at hand, copies of it as JSON lines, and shops of any size.

All are made before the clock starts, in one temporary folder, and each only once a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dangol.adapters.ndjson_write import to_ndjson
from dangol.adapters.tables import EVENT_ID, numbered
from dangol.errors import UsageError
from dangol.testing.shop import Shop, write_shop

__all__ = ["FULL", "QUICK", "Inputs", "Sizes"]

_DAY = 86_400_000_000
_YEAR = 374 * _DAY
_REAL_LINES = 541_909


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much each case does."""

    generated_lines: int = _REAL_LINES
    """Lines of the generated shop that stands in when no file is given."""
    copies: int = 5
    http_lines: int = _REAL_LINES
    http_bodies: tuple[int, ...] = (500, 5000)
    connections: int = 4
    rates: tuple[int, ...] = (1000, 20_000)
    latency_seconds: float = 10.0
    bodies_per_second: int = 100
    growth_lines: int = 250_000
    growth_times: int = 4
    scale_lines: tuple[int, int] = (500_000, 20_000_000)
    scale_customers: tuple[int, int] = (25_000, 1_000_000)
    score_customers: int = 1_000_000
    commit_lines: tuple[int, ...] = (1, 10, 1000, 20_000)
    commits: int = 200
    repeats: int = 5


FULL = Sizes()
QUICK = Sizes(
    generated_lines=60_000,
    copies=1,
    http_lines=100_000,
    http_bodies=(2000,),
    latency_seconds=2.0,
    growth_lines=50_000,
    scale_lines=(100_000, 400_000),
    scale_customers=(5_000, 20_000),
    score_customers=100_000,
    commit_lines=(1, 1000),
    commits=30,
    repeats=2,
)


class Inputs:
    """Makes the input files of one run in `folder`; `file`: a parquet file, or None for a generated shop."""

    def __init__(self, folder: Path, file: Path | None, sizes: Sizes) -> None:
        self.folder = folder
        self.sizes = sizes
        self._file = file
        if file is not None and file.suffix.lower() != ".parquet":
            message = (
                f"{file} is not a parquet file: the bench reads parquet, and makes the other kinds itself"
            )
            raise UsageError(message)
        if file is not None and not file.is_file():
            message = f"{file} does not exist: name a parquet file, or none for the generated shop"
            raise UsageError(message)

    def data_folder(self, name: str) -> Path:
        """Return a data folder that does not exist yet."""
        number = sum(1 for _ in self.folder.glob(f"{name}-*.data"))
        path = self.folder / f"{name}-{number}.data"
        path.mkdir()
        return path

    def parquet(self) -> Path:
        """Return the data at hand as parquet."""
        if self._file is None:
            lines = self.sizes.generated_lines
            self._file = self.shop(customers=max(20, lines // 124), lines=lines)
        return self._file

    def shop(self, *, customers: int, lines: int) -> Path:
        """Return a generated shop of this size as parquet."""
        path = self.folder / f"shop-{customers}-{lines}.parquet"
        if not path.exists():
            write_shop(path, Shop(customers=customers, lines=lines))
        return path

    def ndjson(self, copies: int) -> Path:
        """Return the data at hand as JSON lines, `copies` times: a year apart, no customer in common."""
        path = self.folder / f"lines-{copies}.ndjson"
        if not path.exists():
            with path.open("wb") as file:
                for batch in self._copied(copies):
                    file.write(to_ndjson(batch))
        return path

    def _copied(self, copies: int) -> Iterator[pa.Table]:
        for copy in range(copies):
            row = 0
            for batch in pq.ParquetFile(self.parquet()).iter_batches(1 << 16):
                yield _as_copy(pa.Table.from_batches([batch]), copy, row)
                row += len(batch)


def _as_copy(table: pa.Table, copy: int, first_row: int) -> pa.Table:
    """Give lines event ids, customers, invoices and times that no other copy has."""
    if EVENT_ID in table.column_names:
        ids = pc.binary_join_element_wise(f"c{copy}", table[EVENT_ID].cast(pa.string()), "-")
        table = table.drop_columns([EVENT_ID])
    else:
        ids = numbered(f"c{copy}-", np.arange(first_row, first_row + len(table)))
    if copy:
        end = pa.scalar(f"{copy}")
        for name in ("CustomerID", "InvoiceNo"):
            own = pc.binary_join_element_wise(table[name].cast(pa.string()), end, "")
            table = table.set_column(table.column_names.index(name), name, own)
        later = pc.add(
            table["InvoiceDate"].cast(pa.timestamp("us")), pa.scalar(copy * _YEAR, pa.duration("us"))
        )
        table = table.set_column(table.column_names.index("InvoiceDate"), "InvoiceDate", later)
    return table.add_column(0, EVENT_ID, ids)
