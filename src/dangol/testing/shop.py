"""The generated shop: purchase lines like a real shop's, at any size, with the truth about them known.

It stands in for real data where there is none, and scales to where real data ends. Everything follows
from the seed. `Shop.truth` tells which behaviour group each customer belongs to, as a test of segments.

>>> next(Shop(customers=100, lines=1000, seed=7).batches()).slice(0, 1).to_pylist()[0]["Country"]
'United Kingdom'
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dangol.core.schema import Int64
from dangol.errors import UsageError
from dangol.testing.shop_files import shop_ndjson, write_shop
from dangol.testing.shop_goods import make_goods
from dangol.testing.shop_lines import LineMaker, hashed, shares
from dangol.testing.shop_plan import GROUPS, draw_groups, make_plan

__all__ = ["Shop", "shop_ndjson", "write_shop"]

_STEP = 1 << 15
_FIRST_CUSTOMER = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """The size and the habits of a generated shop; all shares are of lines."""

    customers: int = 4000
    lines: int = 500_000
    """All that arrive, redelivered copies included: exactly so many."""
    seed: int = 1
    start: str = "2010-12-01"
    days: int = 373
    lines_per_invoice: float = 8.0
    products: int = 3000
    anonymous: float = 0.23
    """Lines with no customer."""
    cancelled: float = 0.02
    """Lines of cancellations: minutes after the purchase, or weeks (returns), a tenth of them of nothing."""
    malformed: float = 0.005
    """Lines that the rules reject: price or quantity 0, a sign that does not fit, no number, no date."""
    duplicates: float = 0.002
    """Lines that are exact copies of another, delivered again."""
    late: float = 0.01
    """Lines that arrive behind later ones."""
    latest: int = 5000
    """Late and redelivered lines come at most so many lines behind their place."""

    def __post_init__(self) -> None:
        self._day()
        for name in ("customers", "lines", "days", "products", "latest"):
            if getattr(self, name) < 1:
                _refuse(name, getattr(self, name), "must be at least 1")
        if self.lines_per_invoice < 1:
            _refuse("lines_per_invoice", self.lines_per_invoice, "must be at least 1")
        if not 0 <= self.seed < 2**31:
            _refuse("seed", self.seed, "must be from 0 to 2147483647")
        for name in ("anonymous", "cancelled", "malformed", "duplicates", "late"):
            if not 0 <= getattr(self, name) <= 0.9:
                _refuse(name, getattr(self, name), "is a share: from 0 to 0.9")

    def batches(self, rows: int = 32_768) -> Iterator[pa.RecordBatch]:
        """Yield all lines in the order in which they arrive, `rows` at a time, in typed columns.

        What a malformed line says in place of a number or a date is null here; text files have it.
        """
        for batch, _ in self.marked_batches(rows):
            yield batch

    def marked_batches(self, rows: int = 32_768) -> Iterator[tuple[pa.RecordBatch, NDArray[np.uint8]]]:
        """Yield each batch with the place in `FAULT_KINDS` of each of its lines."""
        again = min(round(self.lines * self.duplicates), self.lines - 1)
        maker = self._maker(self.lines - again)
        for numbers in _sized(self._arrivals(self.lines - again, again), rows):
            yield maker.batch(numbers)

    def truth(self) -> pa.Table:
        """Return the behaviour group of each customer; one who never came to buy is in it too."""
        group = draw_groups(self.customers, self.seed)
        names = pa.array([entry.name for entry in GROUPS])
        ids = pa.array(np.arange(self.customers) + _FIRST_CUSTOMER).cast(pa.string())
        return pa.table({"customer": ids, "group": names.take(pa.array(group))})

    def _maker(self, lines: int) -> LineMaker:
        plan = make_plan(
            customers=self.customers,
            lines=lines,
            seed=self.seed,
            start=self._day(),
            days=self.days,
            lines_per_invoice=self.lines_per_invoice,
            anonymous=self.anonymous,
            cancelled=self.cancelled,
        )
        return LineMaker(
            plan=plan,
            goods=make_goods(self.products, self.seed),
            seed=self.seed,
            start=np.datetime64(self.start),
            malformed=self.malformed,
        )

    def _arrivals(self, lines: int, again: int) -> Iterator[Int64]:
        """Yield line numbers in the order of arrival: late ones moved back, some delivered again."""
        copied = np.sort(np.random.default_rng([self.seed, 3]).integers(0, lines, again))
        keys, waiting = np.zeros(0, np.int64), np.zeros(0, np.int64)
        for begin in range(0, lines, _STEP):
            end = min(begin + _STEP, lines)
            numbers = np.arange(begin, end)
            late = shares(hashed(numbers.astype(np.uint64), self.seed * 4 + 4)) < self.late
            twice = copied[np.searchsorted(copied, begin) : np.searchsorted(copied, end)]
            moved = np.concatenate([numbers[late], twice])
            delay = 1 + hashed(moved.astype(np.uint64), self.seed * 4 + 5) % np.uint64(self.latest)
            # A moved line comes right behind the line whose place it takes: keys are doubled places.
            keys = np.concatenate([keys, 2 * numbers[~late], 2 * (moved + delay.astype(np.int64)) + 1])
            waiting = np.concatenate([waiting, numbers[~late], moved])
            due = keys < 2 * end if end < lines else np.ones(len(keys), bool)
            order = np.argsort(keys[due], kind="stable")
            yield waiting[due][order]
            keys, waiting = keys[~due], waiting[~due]

    def _day(self) -> dt.date:
        try:
            return dt.date.fromisoformat(self.start)
        except ValueError:
            return _refuse("start", self.start, "must be a date such as 2010-12-01")


def _refuse(name: str, value: object, reason: str) -> dt.date:
    message = f"{name} of the generated shop is {value}, but {reason}"
    raise UsageError(message)


def _sized(pieces: Iterator[Int64], rows: int) -> Iterator[Int64]:
    """Cut pieces of any length into arrays of `rows`, the last one shorter."""
    held = np.zeros(0, np.int64)
    for piece in pieces:
        held = np.concatenate([held, piece])
        whole = len(held) // rows * rows
        yield from (held[at : at + rows] for at in range(0, whole, rows))
        held = held[whole:]
    if len(held):
        yield held
