"""One look at the engine: counters, rates, sizes, segments."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dangol.core.schema import MICROS, NEVER, SEGMENTS, States

if TYPE_CHECKING:
    from dangol.engine import Engine

__all__ = ["Status", "Timings", "segment_totals", "status_of"]

_RATE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The engine as of its last commit; times are microseconds UTC, money is in currency units."""

    events: int
    accepted: int
    anonymous: int
    rejected: dict[str, int]
    duplicates: int
    customers: int
    live_customers: int
    clock: int | None
    batches: int
    queue_bytes: int
    lines_per_second: float
    commit_p50_ms: float | None
    commit_p99_ms: float | None
    delay_p99_ms: float | None
    model: dict[str, int | str | bool]
    segments: dict[str, dict[str, float]]
    cancellations: dict[str, int]
    changes: int
    started_at: int
    last_commit_at: int | None
    disk_bytes: int


class Timings:
    """How long recent commits took, how long senders waited, and how many lines came lately."""

    def __init__(self, started_at: int) -> None:
        self.started_at = started_at
        self.last_commit_at: int | None = None
        self._commits: deque[float] = deque(maxlen=1000)
        self._delays: deque[float] = deque(maxlen=1000)
        self._lines: deque[tuple[float, int]] = deque(maxlen=10_000)
        self._lock = threading.Lock()

    def committed(self, lines: int, seconds: float, now: int) -> None:
        """Note a commit of so many lines that took so long."""
        with self._lock:
            self.last_commit_at = now
            self._commits.append(seconds)
            self._lines.append((time.monotonic(), lines))

    def acknowledged(self, delays: Iterable[float]) -> None:
        """Note how many seconds senders waited from handing in to durable."""
        with self._lock:
            self._delays.extend(delays)

    def lines_per_second(self) -> float:
        """Return the rate of the last seconds."""
        begin = time.monotonic() - _RATE_SECONDS
        with self._lock:
            return sum(lines for at, lines in self._lines if at >= begin) / _RATE_SECONDS

    def commit_ms(self, quantile: float) -> float | None:
        """Return a quantile of the times of recent commits."""
        with self._lock:
            return _quantile_ms(self._commits, quantile)

    def delay_ms(self, quantile: float) -> float | None:
        """Return a quantile of the recent delays from handing in to durable."""
        with self._lock:
            return _quantile_ms(self._delays, quantile)


def _quantile_ms(seconds: deque[float], quantile: float) -> float | None:
    return round(float(np.quantile(seconds, quantile)) * 1000, 3) if seconds else None


def segment_totals(states: States) -> dict[str, dict[str, float]]:
    """Return count and monetary (currency units) by segment, of all customers not erased."""
    alive = states["alive"] == 1
    segment = np.where(alive, states["segment"], 0).astype(np.int64)
    counts = np.bincount(segment[alive], minlength=len(SEGMENTS))
    money = np.zeros(len(SEGMENTS), np.int64)
    np.add.at(money, segment, states["monetary"])
    return {
        name: {"count": int(counts[place]), "monetary": int(money[place]) / MICROS}
        for place, name in enumerate(SEGMENTS)
    }


def status_of(engine: Engine) -> Status:
    """Return the status; the caller holds the engine's lock."""
    book, timings = engine.pipeline.book, engine.timings
    states = book.states
    kinds = ("matched", "partly", "unmatched")
    return Status(
        events=book.totals.events,
        accepted=book.totals.accepted,
        anonymous=book.totals.anonymous,
        rejected=dict(book.totals.rejected),
        duplicates=book.totals.duplicates,
        customers=int((states["alive"] == 1).sum()),
        live_customers=int((states["frequency"] > 0).sum()),
        clock=None if book.clock == NEVER else book.clock,
        batches=engine.pipeline.store.seq,
        queue_bytes=engine.waiting_bytes,
        lines_per_second=timings.lines_per_second(),
        commit_p50_ms=timings.commit_ms(0.5),
        commit_p99_ms=timings.commit_ms(0.99),
        delay_p99_ms=timings.delay_ms(0.99),
        model={"version": book.model.version, "name": book.model.kind, "starting": book.model.starting},
        segments=segment_totals(states),
        cancellations={kind: int(states[f"cancels_{kind}"].sum()) for kind in kinds},
        changes=book.last_change,
        started_at=timings.started_at,
        last_commit_at=timings.last_commit_at,
        disk_bytes=_size(engine.pipeline.store.folder),
    )


def _size(folder: Path) -> int:
    total = 0
    for path in [*folder.iterdir(), *(folder / "runs").iterdir()]:
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # a merged run, deleted meanwhile
            continue
    return total
