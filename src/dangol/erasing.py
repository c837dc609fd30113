"""Erase: take a customer out of every file of the data folder.

What can be named is overwritten or deleted: the texts of its lines in the log (in place), its state,
snapshot and deltas, its changes, its id, and the bytes of rejected lines that hold the id. What stays are
hashes of event ids, so that a redelivered event of the customer is still a duplicate and cannot bring it back.
"""

from __future__ import annotations

import json
import re
import sqlite3
from dataclasses import dataclass

import numpy as np

from dangol.adapters.local_commit import Commit
from dangol.core.fold import empty_states
from dangol.core.identity import digest
from dangol.errors import NotFound
from dangol.pipeline import Pipeline

__all__ = ["EraseReceipt", "erase"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EraseReceipt:
    """What was erased; the customer's id is not repeated here."""

    lines: int
    changes: int
    rejects: int
    blocked: bool
    at: int


def erase(pipeline: Pipeline, customer: str, *, block: bool, at: int) -> EraseReceipt:
    """Erase `customer`; with `block`, lines that come for it later are rejected. Raises NotFound.

    A crash before the commit leaves some of it undone and nothing else harmed, and erasing again finishes it;
    after a later crash the next start does.
    """
    store, book = pipeline.store, pipeline.book
    slot = book.customers.find(customer)
    if slot is None or slot >= book.count:
        message = f"no customer {customer!r} is stored, so there is nothing to erase: check the id"
        raise NotFound(message)
    slots, gone = np.array([slot]), empty_states(1)
    gone["alive"] = 0
    counts: dict[str, int] = {}

    def delete(database: sqlite3.Connection) -> None:
        counts["rejects"] = _blank_rejects(database, customer, pipeline.customer_field)
        counts["changes"] = database.execute("DELETE FROM changes WHERE slot = ?", (slot,)).rowcount
        database.execute("UPDATE customers SET id = NULL WHERE slot = ?", (slot,))
        if block:
            known = digest(customer, int(store.meta("hash_seed")))
            database.execute("INSERT OR REPLACE INTO blocked VALUES (?, ?)", (known, at))
        values = [("last_change", book.last_change), ("scour", 1)]
        database.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values)

    try:
        pipeline.history.flush()
        pointers = pipeline.history.pointers_of(slot)
        store.log.scrub(pointers)
        batch = Commit(at=at, clock=book.clock, counters=book.totals.as_dict(), slots=slots, states=gone)
        store.commit(batch, also=delete)
        book.apply(slots, gone)
        store.scour(book.states)
    finally:
        pipeline.reload()
    return EraseReceipt(lines=len(pointers), **counts, blocked=block, at=at)


def _blank_rejects(database: sqlite3.Connection, customer: str, field: str) -> int:
    """Take the bytes out of the customer's rejected lines; return how many they are.

    A line that is a JSON object with the field is the customer's if the field says so; any other line is, to
    be safe, if the id stands in it as a word of its own.
    """
    word = re.compile(rf"(?<![0-9A-Za-z]){re.escape(customer)}(?![0-9A-Za-z])")
    may_hold = "SELECT seq, raw FROM rejects WHERE instr(raw, ?) OR instr(raw, ?)"
    rows = database.execute(may_hold, (customer.encode(), b"\\u"))
    seqs = [(seq,) for seq, raw in rows if word.search(_plain(raw)) and _may_be_of(raw, customer, field)]
    database.executemany("UPDATE rejects SET raw = x'', field = '', status = 'erased' WHERE seq = ?", seqs)
    return len(seqs)


def _may_be_of(raw: bytes, customer: str, field: str) -> bool:
    """Tell whether a line does not plainly belong to another customer."""
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        return True
    if not isinstance(line, dict) or line.get(field) is None:
        return True
    return str(line[field]).strip().removesuffix(".0") == customer.removesuffix(".0")


def _plain(raw: bytes) -> str:
    """Return the text of a line, with characters that JSON has escaped by number as they are."""
    text = raw.decode("utf-8", "replace")
    text = re.sub(r"\\u([0-9A-Fa-f]{4})", lambda found: chr(int(found[1], 16)), text)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # joins surrogate pairs
