"""The customers whose segment changes by time alone, in order of the moment."""

from __future__ import annotations

import numpy as np

from dangol.core.schema import NEVER, Int64

__all__ = ["DueQueue"]


class DueQueue:
    """Finds who is due without looking at everybody.

    A sorted list made now and then, and the customers touched since it was made. The list is made anew
    when an eighth of all customers was touched, so a touch costs the logarithm of their number. An entry
    that no longer agrees with the customer's `next_change_at` is stale and is passed over.
    """

    def __init__(self, next_change_at: Int64) -> None:
        self._rebuild(next_change_at)

    def _rebuild(self, next_change_at: Int64) -> None:
        slots = np.flatnonzero(next_change_at != NEVER)
        order = np.argsort(next_change_at[slots], kind="stable")
        self._slots = slots[order]
        self._moments = next_change_at[slots][order]
        self._begin = 0
        self._touched: list[Int64] = []
        self._touched_count = 0
        self._earliest_touched = np.iinfo(np.int64).max

    def touch(self, slots: Int64, next_change_at: Int64) -> None:
        """Take note that `slots` have a new moment; `next_change_at` holds the moments of all customers."""
        self._touched.append(slots)
        self._touched_count += len(slots)
        moments = next_change_at[slots]
        moments = moments[moments != NEVER]
        if len(moments):
            self._earliest_touched = min(self._earliest_touched, int(moments.min()))
        if self._touched_count > 4096 + len(next_change_at) // 8:
            self._rebuild(next_change_at)

    def earliest(self) -> int | None:
        """Return a moment before which nobody is due (None: nobody is due ever)."""
        listed = int(self._moments[self._begin]) if self._begin < len(self._moments) else None
        touched = self._earliest_touched if self._earliest_touched < np.iinfo(np.int64).max else None
        return min((m for m in (listed, touched) if m is not None), default=None)

    def due(self, until: int, next_change_at: Int64) -> Int64:
        """Return the slots with a change at or before `until`, sorted; the caller gives them new moments."""
        end = int(np.searchsorted(self._moments, until, side="right"))
        found = [self._slots[self._begin : end]]
        self._begin = max(self._begin, end)
        if self._earliest_touched <= until:
            touched = np.concatenate(self._touched)
            self._touched = [touched]
            moments = next_change_at[touched]
            later = moments[moments > until]  # NEVER is below every moment
            self._earliest_touched = int(later.min()) if len(later) else np.iinfo(np.int64).max
            found.append(touched[(moments != NEVER) & (moments <= until)])
        slots = np.unique(np.concatenate(found))
        moments = next_change_at[slots]
        due: Int64 = slots[(moments != NEVER) & (moments <= until)]
        return due
