"""Matched cancellations: which purchase a cancelled quantity is taken from.

A cancelled quantity is taken from the same customer's and product's latest earlier purchase lines that
still have quantity left, latest first. In time order that is a stack for each pair of customer and product:
a purchase is pushed, a cancellation pops.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numba import njit, types
from numpy.typing import NDArray

from dangol.core.identity import UInt64
from dangol.core.schema import Int64

__all__ = ["PairLines", "is_member", "matched_quantities", "time_order"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairLines:
    """`n` accepted lines, each with the pair it belongs to."""

    pair: UInt64  # slot << 32 | product number
    at: Int64
    quantity: Int64  # below 0: cancelled
    invoice: UInt64  # hash of customer and invoice
    pointer: Int64  # where the line is stored

    def __len__(self) -> int:
        return len(self.pair)

    def take(self, places: NDArray[np.int64] | NDArray[np.bool_]) -> PairLines:
        """Return the lines at `places`."""
        return PairLines(
            pair=self.pair[places],
            at=self.at[places],
            quantity=self.quantity[places],
            invoice=self.invoice[places],
            pointer=self.pointer[places],
        )

    def followed_by(self, other: PairLines) -> PairLines:
        """Return these lines and then those of `other`."""
        return PairLines(
            pair=np.concatenate([self.pair, other.pair]),
            at=np.concatenate([self.at, other.at]),
            quantity=np.concatenate([self.quantity, other.quantity]),
            invoice=np.concatenate([self.invoice, other.invoice]),
            pointer=np.concatenate([self.pointer, other.pointer]),
        )


def ties_that_matter(lines: PairLines, order: Int64) -> NDArray[np.bool_]:
    """Tell which places of `order` (sorted by pair and time) need their event ids to be put in order.

    Lines of one pair and one moment may stand in any order if they agree in invoice and quantity.
    """
    pair, at = lines.pair[order], lines.at[order]
    same = (pair[1:] == pair[:-1]) & (at[1:] == at[:-1])
    if not same.any():
        return np.zeros(len(order), np.bool_)
    differs = (lines.invoice[order][1:] != lines.invoice[order][:-1]) | (
        lines.quantity[order][1:] != lines.quantity[order][:-1]
    )
    group = np.concatenate([[0], np.cumsum(~same)])
    matters = np.zeros(group[-1] + 1, np.bool_)
    matters[group[1:][same & differs]] = True
    needed: NDArray[np.bool_] = matters[group]
    return needed


def time_order(lines: PairLines, order: Int64, tied: NDArray[np.bool_], event_ids: pa.Array) -> Int64:
    """Return `order` with the `tied` places put in order of their `event_ids` (one for each tied place)."""
    places = np.flatnonzero(tied)
    names = event_ids.to_pylist()
    ranks = {name: rank for rank, name in enumerate(sorted(set(names)))}
    rank = np.zeros(len(order), np.int64)
    rank[places] = [ranks[name] for name in names]
    by_id = np.lexsort((rank, lines.at[order], lines.pair[order]))
    return order[by_id]


@njit(
    types.int64[::1](types.Array(types.uint64, 1, "C", readonly=True), types.int64[::1]),
    cache=True,
    nogil=True,
)
def matched_quantities(pair, quantity):  # type: ignore[no-untyped-def]
    """Match cancellations for lines in order of pair, time and event id.

    Returns int64 [n]: for a purchase the quantity taken away from it, for a cancellation the quantity
    that found a purchase.
    """
    n = len(pair)
    matched = np.zeros(n, np.int64)
    stack = np.empty(n, np.int64)
    top = 0
    for i in range(n):
        if i > 0 and pair[i] != pair[i - 1]:
            top = 0
        if quantity[i] > 0:
            stack[top] = i
            top += 1
            continue
        wanted = -quantity[i]
        while wanted > 0 and top > 0:
            purchase = stack[top - 1]
            left = quantity[purchase] - matched[purchase]
            taken = min(left, wanted)
            matched[purchase] += taken
            matched[i] += taken
            wanted -= taken
            if taken == left:
                top -= 1
    return matched


@njit(
    types.boolean[::1](
        types.Array(types.uint64, 1, "C", readonly=True), types.Array(types.uint64, 1, "C", readonly=True)
    ),
    cache=True,
    nogil=True,
)
def is_member(keys, wanted):  # type: ignore[no-untyped-def]
    """Tell which of `keys` are among the unique keys `wanted` (np.isin sorts both)."""
    size = 16
    while size < 2 * len(wanted):
        size *= 2
    table = np.full(size, -1, np.int32)
    mask = np.uint64(size - 1)
    spread = np.uint64(0x9E3779B97F4A7C15)
    for i in range(len(wanted)):
        at = np.int64((wanted[i] * spread >> np.uint64(32)) & mask)
        while table[at] >= 0:
            at = np.int64(np.uint64(at + 1) & mask)
        table[at] = i
    found = np.zeros(len(keys), np.bool_)
    for i in range(len(keys)):
        at = np.int64((keys[i] * spread >> np.uint64(32)) & mask)
        while table[at] >= 0:
            if wanted[table[at]] == keys[i]:
                found[i] = True
                break
            at = np.int64(np.uint64(at + 1) & mask)
    return found
