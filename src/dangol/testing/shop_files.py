"""Writes the generated shop to a file, with the truth about its customers beside it.

Text files say what a malformed line says ("six", "31/13/2010"); parquet, being typed, has null there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dangol.adapters.ndjson_write import to_ndjson
from dangol.errors import UsageError
from dangol.testing.shop_lines import FAULT_KINDS

if TYPE_CHECKING:
    from dangol.testing.shop import Shop

__all__ = ["shop_ndjson", "write_shop"]

_NOT_VALUES = {
    "quantity_text": ("Quantity", ("six", "1O", "NaN", "3 pcs", "9" * 25, "Infinity", "2.5.1")),
    "price_text": ("UnitPrice", ("free", "NaN", "2.55 GBP", "Infinity", "1e400", "-", "--1")),
    "date_text": ("InvoiceDate", ("2011-02-30T10:00:00", "yesterday", "31/13/2010", "0000-00-00", "25:61")),
}
_GROUP_ROWS = 1 << 17


def write_shop(path: Path, shop: Shop) -> Path:
    """Write `shop` to `path` (.parquet, .csv, .ndjson or .jsonl) and return the path of the truth beside it.

    A file of that name is replaced only when the new one is complete.
    """
    writers = {
        ".parquet": _write_parquet,
        ".csv": _write_csv,
        ".ndjson": _write_ndjson,
        ".jsonl": _write_ndjson,
    }
    write = writers.get(path.suffix.lower())
    if write is None:
        message = f"{path} cannot be written: its name must end in one of {', '.join(writers)}"
        raise UsageError(message)
    part = path.with_name(path.name + ".part")
    try:
        write(part, shop)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    truth = path.with_name(path.stem + ".truth.csv")
    csv.write_csv(shop.truth(), truth)
    return truth


def shop_ndjson(shop: Shop, rows: int = 32_768) -> Iterator[bytes]:
    """Yield the lines of `shop` as NDJSON, `rows` lines at a time."""
    for batch, wrong in shop.marked_batches(rows):
        lines = to_ndjson(batch).split(b"\n")
        for row, name, text in _not_values(batch, wrong):
            lines[row] = lines[row].replace(f'"{name}":null'.encode(), f'"{name}":"{text}"'.encode())
        yield b"\n".join(lines)


def _not_values(batch: pa.RecordBatch, wrong: NDArray[np.uint8]) -> Iterator[tuple[int, str, str]]:
    """Yield (row, field, what stands there) for each line that has something else than a number or a date."""
    for row in np.flatnonzero(wrong).tolist():
        name, texts = _NOT_VALUES.get(FAULT_KINDS[wrong[row]], ("", ()))
        if name:
            # By the line's own number, so that a copy of it says the same.
            yield row, name, texts[int(batch.column("EventId")[row].as_py()[-9:]) % len(texts)]


def _write_parquet(path: Path, shop: Shop) -> None:
    batches = shop.batches(_GROUP_ROWS)
    first = next(batches)
    with pq.ParquetWriter(path, first.schema, compression="zstd") as writer:
        writer.write_batch(first)
        for batch in batches:
            writer.write_batch(batch)


def _write_csv(path: Path, shop: Shop) -> None:
    writer: csv.CSVWriter | None = None
    try:
        for batch, wrong in shop.marked_batches():
            texts = _as_texts(batch, wrong)
            writer = writer or csv.CSVWriter(path, texts.schema)
            writer.write_batch(texts)
    finally:
        if writer is not None:
            writer.close()


def _as_texts(batch: pa.RecordBatch, wrong: NDArray[np.uint8]) -> pa.RecordBatch:
    seconds = batch.set_column(5, "InvoiceDate", batch.column("InvoiceDate").cast(pa.timestamp("s")))
    columns = {
        name: column.cast(pa.string()) for name, column in zip(batch.schema.names, seconds, strict=True)
    }
    said = list(_not_values(batch, wrong))
    for field in {name for _, name, _ in said}:
        texts = columns[field].to_pylist()
        for row, name, text in said:
            if name == field:
                texts[row] = text
        columns[field] = pa.array(texts, pa.string())
    return pa.RecordBatch.from_pydict(columns)


def _write_ndjson(path: Path, shop: Shop) -> None:
    with path.open("wb") as file:
        for data in shop_ndjson(shop):
            file.write(data)
