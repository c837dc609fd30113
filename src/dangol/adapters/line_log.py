"""The append-only file of accepted and anonymous lines: an Arrow IPC stream, readable by any Arrow tool.

A line's *pointer* is the byte offset of its record batch, divided by 8, and its row within that batch
(20 bits). Bytes behind the committed length are not part of the log; the next append overwrites them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dangol.core.schema import Int64
from dangol.errors import FolderDamaged

__all__ = ["ERASED", "MAX_BATCH_ROWS", "STORED", "LineLog", "pointers"]

STORED = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("invoice", pa.string(), nullable=False),
        pa.field("product", pa.string(), nullable=False),
        pa.field("description", pa.string()),
        pa.field("quantity", pa.int64(), nullable=False),
        pa.field("unit_price", pa.int64(), nullable=False),
        pa.field("customer", pa.string()),
        pa.field("country", pa.string()),
        pa.field("at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("slot", pa.int64(), nullable=False),
    ]
)
MAX_BATCH_ROWS = 1 << 20
ERASED = -2
"""The slot of a line whose customer was erased."""

_ROW_BITS = 20


def pointers(offset: int, rows: int) -> Int64:
    """Return the pointers of the `rows` lines of a batch that begins at byte `offset`."""
    return np.arange(rows, dtype=np.int64) + (offset >> 3 << _ROW_BITS)


class LineLog:
    """The log of one data folder, up to the committed length that its user names."""

    def __init__(self, path: Path, *, writer: bool) -> None:
        self._path = path
        self._mapped: pa.MemoryMappedFile | None = None
        self._file = -1
        self._begin: int | None = None
        if not path.exists() and writer:
            path.write_bytes(_schema_bytes())
        if writer:
            self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    @property
    def begin(self) -> int:
        """The offset of the first record batch, behind the schema as the version that made the file wrote it."""
        if self._begin is None:
            with pa.OSFile(str(self._path)) as file:
                try:
                    pa.ipc.read_message(file)
                    self._begin = int(file.tell())
                except (pa.ArrowInvalid, EOFError):  # the first start died in the middle
                    self._begin = len(_schema_bytes())
        return self._begin

    def append(self, lines: pa.RecordBatch, offset: int) -> int:
        """Write `lines` (schema STORED) at `offset`, the committed length, sync, and return the new length."""
        message = memoryview(lines.serialize())
        written = 0
        while written < len(message):
            written += os.pwrite(self._file, message[written:], offset + written)
        os.fdatasync(self._file)
        return offset + len(message)

    def truncate(self, length: int) -> None:
        """Forget what a crash left behind the committed `length`; raise if the log is shorter than that."""
        if os.fstat(self._file).st_size < length == self.begin:  # the first start died in the middle
            os.pwrite(self._file, _schema_bytes(), 0)
        if os.fstat(self._file).st_size < length:
            message = (
                f"{self._path.name} is shorter than what was committed: restore the data folder from a copy"
            )
            raise FolderDamaged(message)
        os.ftruncate(self._file, length)

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if self._mapped is not None:
            self._mapped.close()
            self._mapped = None

    def batches(self, begin: int, end: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield (offset, record batch) of the batches from offset `begin` to `end`."""
        offset = begin
        while offset < end:
            batch, following = self._read(offset)
            yield offset, batch
            offset = following

    def take(self, wanted: Int64, columns: list[str]) -> pa.Table:
        """Return `columns` of the lines with the pointers `wanted`, in that order."""
        schema = pa.schema([STORED.field(name) for name in columns])
        if not len(wanted):
            return schema.empty_table()
        offsets = wanted >> _ROW_BITS << 3
        order = np.argsort(offsets, kind="stable")
        cuts = np.flatnonzero(np.diff(offsets[order])) + 1
        parts = []
        for places in np.split(order, cuts):
            batch, _ = self._read(int(offsets[places[0]]))
            rows = wanted[places] & (MAX_BATCH_ROWS - 1)
            parts.append(batch.select(columns).take(pa.array(rows)))
        self._mapped = None  # gives back the memory of the pages that were read
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return pa.Table.from_batches(parts, schema).take(pa.array(back))

    def batch_at(self, pointer: int) -> pa.RecordBatch:
        """Return the whole batch that holds the line with this pointer."""
        return self._read(pointer >> _ROW_BITS << 3)[0]

    def scrub(self, wanted: Int64) -> None:
        """Overwrite the lines with these pointers in place and sync: texts with spaces, numbers with 0.

        The slot becomes ERASED. A reader may see a line half overwritten, never a damaged file.
        """
        for offset in np.unique(wanted >> _ROW_BITS << 3).tolist():
            batch, _ = self._read(offset)
            rows = wanted[wanted >> _ROW_BITS << 3 == offset] & (MAX_BATCH_ROWS - 1)
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                self._scrub_column(column, rows.tolist(), ERASED if name == "slot" else 0)
        os.fdatasync(self._file)

    def _scrub_column(self, column: pa.Array, rows: list[int], number: int) -> None:
        mapped: Any = self._mapped
        mapped.seek(0)
        origin = mapped.read_buffer(1).address
        values = column.buffers()[-1]
        if values is None:
            return
        place = values.address - origin
        if not 0 <= place <= mapped.size() - values.size:  # a column without any bytes lies elsewhere
            return
        if pa.types.is_string(column.type):
            offsets = np.frombuffer(column.buffers()[1], np.int32)
            for begin, end in ((int(offsets[row]), int(offsets[row + 1])) for row in rows):
                if end > begin:
                    os.pwrite(self._file, b" " * (end - begin), place + begin)
            return
        for row in rows:
            os.pwrite(self._file, number.to_bytes(8, "little", signed=True), place + 8 * row)

    def _read(self, offset: int) -> tuple[pa.RecordBatch, int]:
        if self._mapped is None or offset >= self._mapped.size():
            self._mapped = pa.memory_map(str(self._path))
        try:
            return self._read_mapped(offset)
        except (
            pa.ArrowInvalid,
            OSError,
        ):  # the map may end within a batch that was written after it was made
            self._mapped = pa.memory_map(str(self._path))
        try:
            return self._read_mapped(offset)
        except (pa.ArrowInvalid, OSError) as cause:
            message = (
                f"{self._path.name} cannot be read at byte {offset}: restore the data folder from a copy"
            )
            raise FolderDamaged(message) from cause

    def _read_mapped(self, offset: int) -> tuple[pa.RecordBatch, int]:
        mapped: Any = self._mapped
        mapped.seek(offset)
        message = pa.ipc.read_message(mapped)
        return pa.ipc.read_record_batch(message, STORED), int(mapped.tell())


def _schema_bytes() -> bytes:
    return bytes(memoryview(STORED.serialize()))
