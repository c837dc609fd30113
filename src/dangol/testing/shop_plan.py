"""Who buys when: the generated shop's customers and the times and sizes of all their invoices.

This is all that is held in memory, some 30 bytes an invoice; the lines are made from it as they are read.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dangol.testing.shop_goods import COUNTRIES, COUNTRY_SHARES

__all__ = ["GROUPS", "PURCHASE", "WHOLE", "Group", "Plan", "draw_groups", "make_plan"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Group:
    """How the customers of one behaviour group buy."""

    name: str
    share: float
    weight: float
    """Invoices relative to other groups; 0: exactly one."""
    lines: float = 1.0
    """Lines of an invoice relative to other groups."""
    units: int = 1
    """Units of a line are this many times those of other groups."""


GROUPS = (
    Group("regular", 0.18, 3.0),
    Group("wholesale", 0.02, 6.0, 2.5, 4),
    Group("occasional", 0.25, 0.8),
    Group("seasonal", 0.10, 0.8, 1.3),
    Group("lapsed", 0.15, 1.2),
    Group("newcomer", 0.10, 1.0),
    Group("one_time", 0.20, 0.0, 0.8),
)
_NUMBER = {group.name: number for number, group in enumerate(GROUPS)}

PURCHASE, WHOLE, PART, RETURN, UNMATCHED = range(5)
"""Kinds of invoice: all but the first are cancellations."""

_CANCEL_SHARES = (0.12, 0.33, 0.45, 0.10)
_DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All invoices in the order of time, and what is fixed for each customer."""

    group: NDArray[np.uint8]
    country: NDArray[np.uint8]
    seconds: NDArray[np.uint32]
    """Since the start."""
    customer: NDArray[np.int32]
    """-1: anonymous."""
    key: NDArray[np.uint32]
    """What the lines are made from: a cancellation has the key of its purchase, and so its products."""
    first: NDArray[np.uint32]
    """The place of the first line within the purchase."""
    kind: NDArray[np.uint8]
    ends: Ints
    """Lines of this and all earlier invoices."""


def draw_groups(customers: int, seed: int) -> NDArray[np.uint8]:
    """Draw the behaviour group of each customer, as a place in `GROUPS`."""
    shares = np.cumsum([group.share for group in GROUPS])
    drawn = np.random.default_rng([seed, 1]).random(customers)
    return np.searchsorted(shares / shares[-1], drawn, side="right").astype(np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Invoices:
    """Invoices of one sort, in any order."""

    seconds: Ints
    customer: Ints
    key: Ints
    size: Ints
    first: Ints
    kind: Ints


def make_plan(
    *,
    customers: int,
    lines: int,
    seed: int,
    start: dt.date,
    days: int,
    lines_per_invoice: float,
    anonymous: float,
    cancelled: float,
) -> Plan:
    """Draw everything but the lines themselves; the sizes of the invoices add up to exactly `lines`."""
    rng = np.random.default_rng([seed, 2])
    group = draw_groups(customers, seed)
    cancels = round(lines * cancelled)
    nameless = round((lines - cancels) * anonymous)
    named = lines - cancels - nameless
    calendar = _Calendar(start, days)
    buyer = _buyers(group, round(named / lines_per_invoice), rng)[:named]
    if named and not len(buyer):
        buyer = np.zeros(1, np.int64)
    unknown = min(max(round(nameless / lines_per_invoice), 1), nameless)
    strangers = np.full(unknown, -1)
    purchases = _joined(
        _purchases(buyer, group, named, calendar.seconds(_positions(buyer, group, calendar, rng), rng), rng),
        _purchases(strangers, group, nameless, calendar.seconds(rng.random(unknown), rng), rng, len(buyer)),
    )
    everything = _joined(purchases, _cancellations(purchases, cancels, customers, days * _DAY, rng))
    country = rng.choice(len(COUNTRIES), customers, p=np.array(COUNTRY_SHARES) / sum(COUNTRY_SHARES))
    order = np.argsort(everything.seconds, kind="stable")
    return Plan(
        group=group,
        country=country.astype(np.uint8),
        seconds=everything.seconds[order].astype(np.uint32),
        customer=everything.customer[order].astype(np.int32),
        key=everything.key[order].astype(np.uint32),
        first=everything.first[order].astype(np.uint32),
        kind=everything.kind[order].astype(np.uint8),
        ends=np.cumsum(everything.size[order]),
    )


class _Calendar:
    """Maps a position in the year's trade (0 to 1) to a moment: busy days take a larger part of it."""

    def __init__(self, start: dt.date, days: int) -> None:
        dates = [start + dt.timedelta(days=day) for day in range(days)]
        self.cumulated = np.concatenate([[0.0], np.cumsum([_trade(date) for date in dates])])
        self.cumulated /= self.cumulated[-1]
        self.festive = np.array([(10, 15) <= (date.month, date.day) <= (12, 20) for date in dates])

    def seconds(self, positions: Floats, rng: np.random.Generator) -> Ints:
        """Return seconds since the start: the day by position, the time of day by the shop's hours."""
        last = len(self.cumulated) - 2
        day = np.interp(positions, self.cumulated, np.arange(last + 2)).astype(np.int64)
        hour = rng.triangular(7.0, 12.5, 21.0, len(positions))
        return np.minimum(day, last) * _DAY + (hour * 3600).astype(np.int64)

    def festive_positions(self, count: int, rng: np.random.Generator) -> Floats:
        """Draw positions in the weeks before Christmas, anywhere if the period has none."""
        trade = np.diff(self.cumulated) * self.festive
        if not trade.sum():
            return rng.random(count)
        day = np.searchsorted(np.cumsum(trade) / trade.sum(), rng.random(count), side="right")
        return np.asarray((self.cumulated[day] + self.cumulated[day + 1]) / 2)


def _trade(date: dt.date) -> float:
    """Return how busy a day is: weak weekends, a strong autumn, closed over the new year."""
    if (date.month, date.day) >= (12, 24) or (date.month, date.day) <= (1, 3):
        return 0.02
    season = 1.0 + 0.35 * np.cos(2 * np.pi * (date.timetuple().tm_yday - 325) / 365)
    return float(season * (1.0, 1.05, 1.0, 1.15, 0.9, 0.05, 0.65)[date.weekday()])


def _buyers(group: NDArray[np.uint8], invoices: int, rng: np.random.Generator) -> Ints:
    """Return the customer of each invoice, in the order of customers."""
    weight = np.array([entry.weight for entry in GROUPS])[group]
    once = weight == 0
    counts = np.where(once, 1, 0)
    rest = max(invoices - int(counts.sum()), 0)
    weight *= rng.gamma(np.where(np.isin(group, _steady()), 8.0, 1.2), 1.0) * np.where(once, 0.0, 1.0)
    weight /= np.where(np.isin(group, _steady()), 8.0, 1.2)
    mean = weight * (rest / max(float(weight.sum()), 1e-9))
    least = 1 if invoices >= 2 * len(group) else 0
    counts += np.where(once, 0, np.maximum(rng.poisson(mean), least))
    if invoices < once.sum():
        counts *= rng.random(len(group)) < invoices / max(int(counts.sum()), 1)
    return np.repeat(np.arange(len(group)), counts)


def _steady() -> list[int]:
    return [_NUMBER["regular"], _NUMBER["wholesale"]]


def _positions(
    buyer: Ints, group: NDArray[np.uint8], calendar: _Calendar, rng: np.random.Generator
) -> Floats:
    """Draw the position in the period's trade of each invoice, by the behaviour of its buyer's group."""
    count = len(group)
    kind = group[buyer]
    since, until = np.zeros(count), np.ones(count)
    lapsed, newcomer = group == _NUMBER["lapsed"], group == _NUMBER["newcomer"]
    until[lapsed] = rng.uniform(0.15, 0.6, int(lapsed.sum()))
    since[newcomer] = rng.uniform(0.6, 0.97, int(newcomer.sum()))
    position = rng.random(len(buyer))
    steady = np.isin(kind, _steady())
    starts = np.searchsorted(buyer, np.arange(count))
    invoices = np.bincount(buyer, minlength=count)
    nth = np.arange(len(buyer)) - starts[buyer]
    even = (nth + 0.5 + rng.normal(0.0, 0.2, len(buyer))) / np.maximum(invoices[buyer], 1)
    position = np.where(steady, np.clip(even, 0.0, 1.0 - 1e-9), position)
    position = since[buyer] + position * (until - since)[buyer]
    seasonal = kind == _NUMBER["seasonal"]
    position[seasonal] = calendar.festive_positions(int(seasonal.sum()), rng)
    return position


def _purchases(
    buyer: Ints,
    group: NDArray[np.uint8],
    lines: int,
    seconds: Ints,
    rng: np.random.Generator,
    first_key: int = 0,
) -> _Invoices:
    factor = np.array([entry.lines for entry in GROUPS])[group[buyer]]
    size = _exact(1.0 + rng.exponential(4.0, len(buyer)) * np.where(buyer < 0, 1.0, factor), lines, rng)
    nothing = np.zeros(len(buyer), np.int64)
    key = first_key + np.arange(len(buyer))
    return _Invoices(seconds=seconds, customer=buyer, key=key, size=size, first=nothing, kind=nothing)


def _exact(sizes: Floats, total: int, rng: np.random.Generator) -> Ints:
    """Scale `sizes` to whole numbers of at least 1 that add up to `total`."""
    if not len(sizes):
        return np.zeros(0, np.int64)
    scaled: Ints = np.maximum(sizes * (total / sizes.sum()), 1.0).astype(np.int64)
    while (gap := total - int(scaled.sum())) < 0:
        above = np.flatnonzero(scaled > 1)
        scaled[rng.choice(above, min(-gap, len(above)), replace=False)] -= 1
    more: Ints = np.bincount(rng.integers(0, len(scaled), gap), minlength=len(scaled))
    scaled += more
    return scaled


def _cancellations(
    bought: _Invoices, lines: int, customers: int, end: int, rng: np.random.Generator
) -> _Invoices:
    """Draw cancellations of `lines` lines: minutes or weeks later, whole or in part, some of nothing."""
    pool = rng.permutation(len(bought.size))[:lines]
    kind = 1 + rng.choice(4, len(pool), p=_CANCEL_SHARES)
    size = bought.size[pool]
    part = np.minimum(size, rng.geometric(0.5, len(pool)))
    size = np.where(kind == WHOLE, size, part)
    needed = int(np.searchsorted(np.cumsum(size), lines)) + 1
    pool, kind, size = pool[:needed], kind[:needed], size[:needed]
    size[-1:] -= max(int(size.sum()) - lines, 0)
    kept = size > 0
    pool, kind, size = pool[kept], kind[kept], size[kept]
    when = bought.seconds[pool]
    delay = np.where(kind == RETURN, rng.exponential(18 * _DAY, len(pool)), rng.exponential(900, len(pool)))
    moment = when + np.minimum(60 + delay, (end - 1 - when) * rng.random(len(pool))).astype(np.int64)
    first = (rng.random(len(pool)) * (bought.size[pool] - size + 1)).astype(np.int64)
    strange = len(bought.size) + np.arange(len(pool))  # keys of purchases before the period
    found = _Invoices(
        seconds=moment,
        customer=bought.customer[pool],
        key=np.where(kind == UNMATCHED, strange, bought.key[pool]),
        size=size,
        first=np.where(kind == WHOLE, 0, first),
        kind=kind,
    )
    return _joined(
        found, _strangers(lines - int(size.sum()), len(bought.size) + len(pool), customers, end, rng)
    )


def _strangers(lines: int, first_key: int, customers: int, end: int, rng: np.random.Generator) -> _Invoices:
    """Draw cancellations of one line each that match nothing, where there is too little to cancel."""
    nothing = np.zeros(lines, np.int64)
    return _Invoices(
        seconds=rng.integers(0, end, lines),
        customer=rng.integers(0, customers, lines),
        key=first_key + np.arange(lines),
        size=nothing + 1,
        first=nothing,
        kind=nothing + UNMATCHED,
    )


def _joined(*parts: _Invoices) -> _Invoices:
    return _Invoices(
        seconds=np.concatenate([part.seconds for part in parts]),
        customer=np.concatenate([part.customer for part in parts]),
        key=np.concatenate([part.key for part in parts]),
        size=np.concatenate([part.size for part in parts]),
        first=np.concatenate([part.first for part in parts]),
        kind=np.concatenate([part.kind for part in parts]),
    )
