"""What was folded before, found by key: marks of events, lines of pairs, parts of invoices.

Three run indices over the data folder. Memory holds what came since the last flush; after a crash it is
read again from the committed log, so the indices never need a sync of their own.

| index | key | rest of the row |
|---|---|---|
| seen | 64 bits of the event id's hash | the rest of the mark |
| pairs | slot, product number | time, quantity, invoice, pointer |
| invoices | slot, half of the invoice's hash | invoice, time, bought, cancelled |
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pyarrow as pa

from dangol.adapters.line_log import pointers
from dangol.adapters.local import LocalStore
from dangol.adapters.numbering import Numbering
from dangol.adapters.runs import RunFile, RunIndex, merge_runs
from dangol.core.dedupe import mark_lines, mark_rejects
from dangol.core.fold import InvoiceSums
from dangol.core.identity import UInt64, hash_columns_64
from dangol.core.matching import PairLines
from dangol.core.schema import Int64

__all__ = ["FLUSH_ROWS", "LocalHistory", "invoice_hash", "invoice_rows"]

FLUSH_ROWS = 1 << 17
"""So many marks in memory are enough for a run."""

_WIDTHS = {"seen": 2, "pairs": 5, "invoices": 5}
_HIGH = np.uint64(32)


def invoice_hash(slot: Int64, invoice: pa.Array, seed: int) -> UInt64:
    """Return 64 bits that name the invoice of a customer."""
    return hash_columns_64([slot, invoice], len(slot), seed)


def _invoice_key(slot: Int64, invoice: UInt64) -> UInt64:
    return slot.astype(np.uint64) << _HIGH | invoice >> _HIGH


def invoice_rows(parts: InvoiceSums) -> UInt64:
    """Return parts of invoices as rows of the index."""
    columns = (
        _invoice_key(parts.slot, parts.invoice),
        parts.invoice,
        parts.at,
        parts.bought,
        parts.cancelled,
    )
    return np.stack([column.view(np.uint64) for column in columns], axis=1)


def _invoice_sums(rows: UInt64) -> InvoiceSums:
    numbers = rows.view(np.int64)
    return InvoiceSums(
        slot=(rows[:, 0] >> _HIGH).astype(np.int64),
        invoice=rows[:, 1],
        at=numbers[:, 2],
        bought=numbers[:, 3],
        cancelled=numbers[:, 4],
    )


def _pair_rows(lines: PairLines) -> UInt64:
    columns = (lines.pair, lines.at, lines.quantity, lines.invoice, lines.pointer)
    return np.stack([column.view(np.uint64) for column in columns], axis=1)


class LocalHistory:
    """The `History` of fold and the `Seen` of dedupe, on the data folder of `store`."""

    def __init__(self, store: LocalStore, products: Numbering) -> None:
        self._store = store
        self._runs_folder = store.folder / "runs"
        self._seed = int(store.meta("hash_seed"))
        self._merging: tuple[str, tuple[RunFile, ...], Future[RunFile]] | None = None
        self._worker = ThreadPoolExecutor(1, "dangol-merge")
        self._indices = {
            kind: RunIndex(self._runs_folder, kind, width=w, capacity=FLUSH_ROWS * 5 // 4)
            for kind, w in _WIDTHS.items()
        }
        for kind, index in self._indices.items():
            index.attach(store.runs(kind))
        self._read_tail(products)

    def _read_tail(self, products: Numbering) -> None:
        """Take into memory what was committed since the last flush."""
        store = self._store
        begin = int(store.meta("flushed_log")) or store.log.begin
        for offset, batch in store.log.batches(begin, store.log_end):
            lines = batch.set_column(
                batch.schema.get_field_index("at"), "at", batch.column("at").view(pa.int64())
            )
            self._indices["seen"].add(mark_lines(lines, self._seed).rows(np.ones(len(lines), np.bool_)))
            self._indices["pairs"].add(_pair_rows(self._stored_pairs(lines, offset, products)))
        rejects = store.database.execute(
            "SELECT raw FROM rejects WHERE seq > ?", (store.meta("flushed_reject"),)
        )
        raw = [row[0] for row in rejects]
        self._indices["seen"].add(mark_rejects(raw, self._seed).rows(np.ones(len(raw), np.bool_)))
        for (rows,) in store.database.execute("SELECT rows FROM invoice_tail ORDER BY seq"):
            self._indices["invoices"].add(np.frombuffer(rows, np.uint64).reshape(-1, _WIDTHS["invoices"]))

    def _stored_pairs(self, lines: pa.RecordBatch, offset: int, products: Numbering) -> PairLines:
        slot = lines.column("slot").to_numpy()
        known = slot >= 0
        own = lines.filter(pa.array(known))
        slot = slot[known]
        product = products.numbers(own.column("product"))
        return PairLines(
            pair=slot.astype(np.uint64) << _HIGH | product.astype(np.uint64),
            at=own.column("at").to_numpy(),
            quantity=own.column("quantity").to_numpy(),
            invoice=invoice_hash(slot, own.column("invoice"), self._seed),
            pointer=pointers(offset, len(lines))[known],
        )

    def find_marks(self, ids: UInt64) -> tuple[Int64, UInt64]:
        """Return (place in `ids`, rest) for each known mark with one of these ids."""
        places, rows = self._indices["seen"].find(ids)
        return places, rows[:, 1]

    def pairs(self, keys: UInt64) -> PairLines:
        """Return all lines folded before of the pairs `keys` (unique)."""
        _, rows = self._indices["pairs"].find(keys)
        rows = np.ascontiguousarray(rows)
        numbers = rows.view(np.int64)
        return PairLines(
            pair=rows[:, 0],
            at=numbers[:, 1],
            quantity=numbers[:, 2],
            invoice=rows[:, 3],
            pointer=numbers[:, 4],
        )

    def invoices(self, slots: Int64, invoices: UInt64) -> InvoiceSums:
        """Return all parts of these purchase invoices."""
        places, rows = self._indices["invoices"].find(_invoice_key(slots, invoices))
        return _invoice_sums(rows[rows[:, 1] == invoices[places]])

    def invoices_of(self, slots: Int64) -> InvoiceSums:
        """Return all parts of all purchase invoices of the customers `slots` (sorted, unique)."""
        begin = slots.astype(np.uint64) << _HIGH
        return _invoice_sums(self._indices["invoices"].scan(begin, begin + (np.uint64(1) << _HIGH)))

    def pointers_of(self, slot: int) -> Int64:
        """Return the pointers of all lines of one customer."""
        begin = np.array([slot], np.uint64) << _HIGH
        rows = self._indices["pairs"].scan(begin, begin + (np.uint64(1) << _HIGH))
        return np.sort(np.ascontiguousarray(rows[:, 4]).view(np.int64))

    def event_ids(self, pointers: Int64) -> pa.Array:
        """Return the event ids of stored lines."""
        return self._store.log.take(pointers, ["event_id"]).column(0).combine_chunks()

    def remember(self, marks: UInt64, lines: PairLines, invoices: UInt64) -> None:
        """Take in what a commit has made durable."""
        self._indices["seen"].add(marks)
        self._indices["pairs"].add(_pair_rows(lines))
        self._indices["invoices"].add(invoices)

    def tidy(self) -> None:
        """Flush memory that has filled up, and move merges along; called between commits."""
        if any(index.in_memory >= FLUSH_ROWS for index in self._indices.values()):
            self.flush()
        for index in self._indices.values():
            index.release()
        self._take_merged()
        if self._merging is None:
            for kind, index in self._indices.items():
                files = index.mergeable()
                if files:
                    task = self._worker.submit(merge_runs, self._runs_folder, files)
                    self._merging = kind, files, task
                    return

    def flush(self) -> None:
        """Write what memory holds to runs."""
        written = {kind: index.write(self._store.seq) for kind, index in self._indices.items()}
        runs = {
            kind: [*self._indices[kind].files, file] for kind, file in written.items() if file is not None
        }
        self._store.name_runs(runs, flushed=True)
        for kind, files in runs.items():
            self._indices[kind].attach(files)
            self._indices[kind].forget_memory()

    def _take_merged(self) -> None:
        if self._merging is None or not self._merging[2].done():
            return
        kind, old, task = self._merging
        self._merging = None
        merged, index = task.result(), self._indices[kind]
        kept = [file for file in index.files if file not in old]
        files = sorted([merged, *kept], key=lambda file: -file.level)
        self._store.name_runs({kind: files}, flushed=False)
        index.attach(files)
        for file in old:
            (self._runs_folder / file.name).unlink(missing_ok=True)

    def close(self) -> None:
        """Wait for a merge that is under way; its file is deleted at the next start."""
        self._worker.shutdown(wait=True)
