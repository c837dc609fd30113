"""The tables of a data folder's database, and their version."""

from __future__ import annotations

__all__ = ["FORMAT", "TABLES"]

FORMAT = 1
"""Raised whenever an older program could not read the folder; see `FolderTooNew`."""

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE commits (            -- one row a micro-batch; the newest holds the totals
  seq INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,            -- microseconds UTC, wall clock
  clock INTEGER NOT NULL,         -- the engine's clock
  log_end INTEGER NOT NULL,       -- committed length of lines.arrows
  counters TEXT NOT NULL          -- JSON: totals since the folder was made
);
CREATE TABLE deltas (             -- states changed since the snapshot
  seq INTEGER PRIMARY KEY,
  slots BLOB NOT NULL,            -- int64 each
  states BLOB NOT NULL            -- STATE records
);
CREATE TABLE invoice_tail (       -- parts of invoices since the last flush of the index
  seq INTEGER PRIMARY KEY,
  rows BLOB NOT NULL
);
CREATE TABLE positions (source TEXT PRIMARY KEY, position TEXT NOT NULL, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE customers (slot INTEGER PRIMARY KEY, id TEXT);   -- id is NULL after an erase
CREATE UNIQUE INDEX customers_by_id ON customers (id);
CREATE TABLE products (number INTEGER PRIMARY KEY, code TEXT NOT NULL);
CREATE TABLE countries (number INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE changes (
  seq INTEGER PRIMARY KEY,
  slot INTEGER NOT NULL,
  before INTEGER NOT NULL,        -- place in SEGMENTS
  after INTEGER NOT NULL,
  at INTEGER NOT NULL,            -- the moment on the engine's clock
  recorded_at INTEGER NOT NULL,   -- microseconds UTC, wall clock
  cause TEXT NOT NULL,            -- events, time, model
  pointer INTEGER NOT NULL,       -- first line of the batch that holds the events, -1 for other causes
  model INTEGER NOT NULL,
  backfill INTEGER NOT NULL,
  previous INTEGER NOT NULL       -- seq of this customer's change before, 0 if none
);
CREATE TABLE models (
  version INTEGER PRIMARY KEY,
  created_at INTEGER NOT NULL,
  status TEXT NOT NULL,           -- candidate, live, past
  card TEXT NOT NULL              -- plain JSON
);
CREATE TABLE rejects (
  seq INTEGER PRIMARY KEY,
  batch INTEGER NOT NULL,
  received_at INTEGER NOT NULL,
  reason TEXT NOT NULL,
  field TEXT NOT NULL,
  status TEXT NOT NULL,           -- open, replayed
  raw BLOB NOT NULL
);
CREATE TABLE runs (name TEXT PRIMARY KEY, kind TEXT NOT NULL, level INTEGER NOT NULL, rows INTEGER NOT NULL,
  place INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE blocked (digest BLOB PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;  -- erased ids not to come back
"""
