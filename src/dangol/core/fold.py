"""Fold: accepted lines and the states before -> the states after.

Monetary, line counts and times are sums and maxima, so they merge in any order. Frequency and the last
purchase hang on which quantities were cancelled. A purchase later than all cancellations of its customer
cannot change a match, so most lines touch only their invoice's sums; for the others the whole history of
the pairs of customer and product at hand is matched anew, without and with the new lines, and only the
difference is applied. So the work grows with the batch, and the result is that of matching everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit, types
from numpy.typing import NDArray

from dangol.core.identity import UInt64
from dangol.core.matching import PairLines, is_member, matched_quantities, ties_that_matter, time_order
from dangol.core.schema import NEVER, STATE, Int64, States

__all__ = ["Facts", "Folded", "History", "InvoiceSums", "empty_states", "fold"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """`n` accepted lines of a batch, numbered; no event is among them twice or was folded before."""

    slot: Int64
    product: Int64  # number in the product table
    invoice: UInt64  # hash of customer and invoice
    at: Int64
    quantity: Int64
    unit_price: Int64  # money
    country: Int64  # number in the country table, -1 unknown
    pointer: Int64  # where the line will be stored
    event_id: pa.Array  # of all lines of the batch
    row: Int64  # place in `event_id`

    def pair_lines(self) -> PairLines:
        """Return the lines as matching sees them."""
        pair = self.slot.astype(np.uint64) << np.uint64(32) | self.product.astype(np.uint64)
        return PairLines(
            pair=pair, at=self.at, quantity=self.quantity, invoice=self.invoice, pointer=self.pointer
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceSums:
    """Parts of purchase invoices; the parts of one invoice add up: latest time, units bought and cancelled."""

    slot: Int64
    invoice: UInt64
    at: Int64  # NEVER in a part that brings no purchase line
    bought: Int64
    cancelled: Int64

    def __len__(self) -> int:
        return len(self.slot)


class History(Protocol):
    """What was folded before, looked up by key; called a few times a batch, never once a line."""

    def pairs(self, keys: UInt64) -> PairLines:
        """Return all lines folded before of the pairs `keys` (unique)."""
        ...

    def invoices(self, slots: Int64, invoices: UInt64) -> InvoiceSums:
        """Return all parts of these purchase invoices."""
        ...

    def invoices_of(self, slots: Int64) -> InvoiceSums:
        """Return all parts of all purchase invoices of the customers `slots` (sorted, unique)."""
        ...

    def event_ids(self, pointers: Int64) -> pa.Array:
        """Return the event ids of stored lines."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """The result: states after (in the order of the slots given) and what History must remember."""

    after: States
    lines: PairLines
    invoices: InvoiceSums


def empty_states(n: int) -> States:
    """Return the states of `n` customers of whom nothing is known yet."""
    states = np.zeros(n, STATE)
    for name in ("last_purchase_at", "first_line_at", "last_line_at", "last_cancel_at"):
        states[name] = NEVER
    for name in ("next_change_at", "segment_since"):
        states[name] = NEVER
    states["country"] = -1
    states["alive"] = 1
    return states


def fold(
    slots: Int64, before: States, facts: Facts, history: History, *, countries: Sequence[str] = ()
) -> Folded:
    """Fold `facts` into the states `before` of the customers `slots` (sorted, unique, all that occur)."""
    after = before.copy()
    place = np.searchsorted(slots, facts.slot)
    _add_sums(after, place, facts)
    _keep_latest_country(before, after, place, facts, countries)
    lines = facts.pair_lines()
    late = facts.at <= before["last_cancel_at"][place]
    changed, counts = _match(slots, late, lines, facts, history)
    for name, count in zip(("cancels_matched", "cancels_partly", "cancels_unmatched"), counts, strict=True):
        after[name] += count
    parts = _invoice_parts(facts, changed)
    _apply_invoices(slots, after, parts, history)
    return Folded(after=after, lines=lines, invoices=parts)


def _add_sums(after: States, place: Int64, facts: Facts) -> None:
    names = ("lines", "monetary", "first_line_at", "last_line_at", "last_cancel_at")
    columns = [np.ascontiguousarray(after[name]) for name in names]
    _sum_lines(place, facts.at, facts.quantity, facts.unit_price, *columns)
    for name, column in zip(names, columns, strict=True):
        after[name] = column


_READ = types.Array(types.int64, 1, "C", readonly=True)
_SUM = types.int64[::1]


@njit(types.void(_READ, _READ, _READ, _READ, _SUM, _SUM, _SUM, _SUM, _SUM), cache=True, nogil=True)
def _sum_lines(place, at, quantity, unit_price, lines, money, first, last, cancelled):  # type: ignore[no-untyped-def]
    for i in range(len(place)):
        p = place[i]
        lines[p] += 1
        money[p] += quantity[i] * unit_price[i]
        if first[p] == NEVER or at[i] < first[p]:
            first[p] = at[i]
        last[p] = max(last[p], at[i])
        if quantity[i] < 0:
            cancelled[p] = max(cancelled[p], at[i])


def _keep_latest_country(
    before: States, after: States, place: Int64, facts: Facts, countries: Sequence[str]
) -> None:
    """Keep the country of the latest line; of several at that moment, the last in the alphabet."""
    # not numpy's texts: all of them take the room of the longest
    by_rank = pc.array_sort_indices(pa.array(countries, pa.string())).to_numpy().astype(np.int64)
    rank_of = np.empty(len(countries) + 1, np.int64)
    rank_of[by_rank] = np.arange(len(countries))
    rank_of[-1] = -1  # of country -1, unknown
    latest = facts.at == after["last_line_at"][place]
    kept = before["last_line_at"] == after["last_line_at"]
    rank = np.where(kept, rank_of[before["country"]], -1)
    np.maximum.at(rank, place[latest], rank_of[facts.country[latest]])
    after["country"] = np.append(by_rank, -1)[rank]


def _match(
    slots: Int64, late: NDArray[np.bool_], lines: PairLines, facts: Facts, history: History
) -> tuple[InvoiceSums, tuple[Int64, Int64, Int64]]:
    """Return how cancelled quantities change, by invoice, and the change of the three counts of cancellations.

    `late` tells which lines are no later than a cancellation of their customer that was folded before.
    """
    n = len(slots)
    bearing = late | (facts.quantity < 0)
    none = np.zeros(n, np.int64)
    if not bearing.any():
        return _no_parts(), (none, none, none)
    pairs = np.unique(lines.pair[bearing])
    fresh = np.flatnonzero(is_member(lines.pair, pairs))
    old = history.pairs(pairs)
    both = old.followed_by(lines.take(fresh))
    order = np.lexsort((both.at, both.pair))
    tied = ties_that_matter(both, order)
    if tied.any():
        ids = _event_ids(
            order[tied], len(old), both, facts.event_id.take(pa.array(facts.row[fresh])), history
        )
        order = time_order(both, order, tied, ids)
    both = both.take(order)
    was = order < len(old)
    matched_after = matched_quantities(both.pair, both.quantity)
    matched_before = np.zeros(len(both), np.int64)
    matched_before[was] = matched_quantities(both.pair[was], both.quantity[was])
    owner = np.searchsorted(slots, (both.pair >> np.uint64(32)).astype(np.int64))
    counts = _count_cancels(n, owner, both.quantity, was, matched_before, matched_after)
    moved = (both.quantity > 0) & (matched_after != matched_before)
    return InvoiceSums(
        slot=(both.pair[moved] >> np.uint64(32)).astype(np.int64),
        invoice=both.invoice[moved],
        at=np.full(int(moved.sum()), NEVER),
        bought=np.zeros(int(moved.sum()), np.int64),
        cancelled=(matched_after - matched_before)[moved],
    ), counts


def _event_ids(places: Int64, n_old: int, both: PairLines, fresh_ids: pa.Array, history: History) -> pa.Array:
    """Return the event ids of `places` in `both`: the first `n_old` are stored, the others are fresh."""
    stored = places < n_old
    old_ids = history.event_ids(both.pointer[places[stored]])
    new_ids = fresh_ids.take(pa.array(places[~stored] - n_old))
    back = np.empty(len(places), np.int64)
    back[np.flatnonzero(stored)] = np.arange(len(old_ids))
    back[np.flatnonzero(~stored)] = len(old_ids) + np.arange(len(new_ids))
    return pa.concat_arrays([old_ids, new_ids]).take(pa.array(back))


def _count_cancels(
    n: int, owner: Int64, quantity: Int64, was: NDArray[np.bool_], matched_before: Int64, matched_after: Int64
) -> tuple[Int64, Int64, Int64]:
    cancels = quantity < 0
    wanted = -quantity
    counts = []
    for kind in (0, 1, 2):
        change = _is_kind(kind, matched_after, wanted).astype(np.int64)
        change -= _is_kind(kind, matched_before, wanted) & was
        total = np.zeros(n, np.int64)
        np.add.at(total, owner[cancels], change[cancels])
        counts.append(total)
    return counts[0], counts[1], counts[2]


def _is_kind(kind: int, matched: Int64, wanted: Int64) -> NDArray[np.bool_]:
    """Tell which cancellations are matched fully (0), partly (1) or not at all (2)."""
    full = matched == wanted
    result: NDArray[np.bool_] = (full, ~full & (matched > 0), matched == 0)[kind]
    return result


def _no_parts() -> InvoiceSums:
    none = np.empty(0, np.int64)
    return InvoiceSums(slot=none, invoice=none.astype(np.uint64), at=none, bought=none, cancelled=none)


def _invoice_parts(facts: Facts, changed: InvoiceSums) -> InvoiceSums:
    """Return one part for each invoice that gains lines or whose cancelled quantity changes."""
    bought = facts.quantity > 0
    invoice, quantity = facts.invoice[bought], facts.quantity[bought]
    if not len(invoice):
        return _add_up(changed.slot, changed.invoice, changed.at, changed.bought, changed.cancelled)
    # lines of one invoice mostly come together: add them up before sorting
    runs = np.flatnonzero(np.concatenate([[True], invoice[1:] != invoice[:-1]]))
    return _add_up(
        np.concatenate([facts.slot[bought][runs], changed.slot]),
        np.concatenate([invoice[runs], changed.invoice]),
        np.concatenate([np.maximum.reduceat(facts.at[bought], runs), changed.at]),
        np.concatenate([np.add.reduceat(quantity, runs), changed.bought]),
        np.concatenate([np.zeros(len(runs), np.int64), changed.cancelled]),
    )


def _add_up(slot: Int64, invoice: UInt64, at: Int64, bought: Int64, cancelled: Int64) -> InvoiceSums:
    """Add up the parts of each invoice; the result is sorted by invoice."""
    invoices, first, place = np.unique(invoice, return_index=True, return_inverse=True)
    n = len(invoices)
    latest = np.full(n, NEVER)
    sums = np.zeros(n, np.int64), np.zeros(n, np.int64)
    np.maximum.at(latest, place, at)
    np.add.at(sums[0], place, bought)
    np.add.at(sums[1], place, cancelled)
    return InvoiceSums(slot=slot[first], invoice=invoices, at=latest, bought=sums[0], cancelled=sums[1])


def _join(first: InvoiceSums, second: InvoiceSums) -> InvoiceSums:
    """Add up two sets of parts."""
    return _add_up(
        np.concatenate([first.slot, second.slot]),
        np.concatenate([first.invoice, second.invoice]),
        np.concatenate([first.at, second.at]),
        np.concatenate([first.bought, second.bought]),
        np.concatenate([first.cancelled, second.cancelled]),
    )


def _apply_invoices(slots: Int64, after: States, parts: InvoiceSums, history: History) -> None:
    """Bring frequency and last purchase up to date with the `parts` of this batch."""
    earlier = history.invoices(parts.slot, parts.invoice)
    total = _join(parts, earlier)  # the same invoices as `parts`, in the same order
    live = total.bought > total.cancelled
    was_live = total.bought - parts.bought > total.cancelled - parts.cancelled
    place = np.searchsorted(slots, parts.slot)
    np.add.at(after["frequency"], place, live.astype(np.int64) - was_live)
    ended = was_live & ~live & (total.at >= after["last_purchase_at"][place])
    np.maximum.at(after["last_purchase_at"], place[live], total.at[live])
    if ended.any():
        lost = np.unique(parts.slot[ended])
        _find_last_purchase(slots, after, lost, _join(_of(parts, lost), history.invoices_of(lost)))


def _of(parts: InvoiceSums, slots: Int64) -> InvoiceSums:
    own = np.isin(parts.slot, slots)
    return InvoiceSums(
        slot=parts.slot[own],
        invoice=parts.invoice[own],
        at=parts.at[own],
        bought=parts.bought[own],
        cancelled=parts.cancelled[own],
    )


def _find_last_purchase(slots: Int64, after: States, lost: Int64, invoices: InvoiceSums) -> None:
    """Set the last purchase of the customers `lost` from all their invoices."""
    live = invoices.bought > invoices.cancelled
    latest = np.full(len(lost), NEVER)
    np.maximum.at(latest, np.searchsorted(lost, invoices.slot[live]), invoices.at[live])
    after["last_purchase_at"][np.searchsorted(slots, lost)] = latest
