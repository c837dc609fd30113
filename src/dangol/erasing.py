"""Erase: take a customer out of every file of the data folder.

What can be named is overwritten or deleted: the texts of its lines in the log (in place), its state,
snapshot and deltas, its changes, its id, and rejected lines that hold the id. What stays are hashes of event
ids, so that a redelivered event of the customer is still a duplicate and cannot bring it back.
"""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass

import numpy as np

from dangol.core.fold import empty_states
from dangol.errors import NotFound
from dangol.pipeline import Pipeline, digest

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

    A crash in between leaves some of it undone and nothing else harmed; erasing again finishes it.
    """
    store, book = pipeline.store, pipeline.book
    slot = book.customers.find(customer)
    if slot is None or slot >= book.count:
        message = f"no customer {customer!r} is stored, so there is nothing to erase: check the id"
        raise NotFound(message)
    try:
        pipeline.history.flush()
        pointers = pipeline.history.pointers_of(slot)
        store.log.scrub(pointers)
        gone = empty_states(1)
        gone["alive"] = 0
        book.apply(np.array([slot]), gone)
        store.write_snapshot(book.states)
        seed = int(store.meta("hash_seed"))
        with store.transaction() as database:
            rejects = _delete_rejects(database, customer)
            changes = database.execute("DELETE FROM changes WHERE slot = ?", (slot,)).rowcount
            database.execute("UPDATE customers SET id = NULL WHERE slot = ?", (slot,))
            if block:
                database.execute("INSERT OR REPLACE INTO blocked VALUES (?, ?)", (digest(customer, seed), at))
        store.database.execute("VACUUM")
        store.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        pipeline.reload()
    return EraseReceipt(lines=len(pointers), changes=changes, rejects=rejects, blocked=block, at=at)


def _delete_rejects(database: sqlite3.Connection, customer: str) -> int:
    """Delete the rejected lines in which the id stands as a word of its own; return how many they were."""
    written = {customer, customer.encode("ascii", "backslashreplace").decode()}  # as it is, and as JSON escapes it
    seqs = []
    for text in written:
        word = re.compile(rb"(?<![0-9A-Za-z])" + re.escape(text.encode()) + rb"(?![0-9A-Za-z])")
        rows = database.execute("SELECT seq, raw FROM rejects WHERE instr(raw, ?)", (text.encode(),))
        seqs += [(seq,) for seq, raw in rows if word.search(raw)]
    database.executemany("DELETE FROM rejects WHERE seq = ?", seqs)
    return len(set(seqs))
