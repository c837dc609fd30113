"""The moments at which customers change segment by time alone.

With frequency and monetary fixed, each component's log-density is a quadratic in r = log(1 + recency days),
so two of them are equal at no more than two values of r. The next change is at the first such value behind
the present one where the likeliest component changes. The roots give the place; the very moment is then read
off the scoring code itself: it is the first microsecond at which `score` gives another segment.

Changes after 2262-01-01 (`HORIZON`) are not looked for: there `next_change_at` is NEVER.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dangol.core.features import Rfm
from dangol.core.model_card import Model
from dangol.core.schema import NEVER, Int64
from dangol.core.score_kernels import HORIZON, next_change_rows

__all__ = ["HORIZON", "Outlook", "TimeChanges", "changes_by_time", "follow", "next_change", "outlook"]

Segments = NDArray[np.int8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """Where `n` customers stand, and where time alone takes them next.

    `next_segment` is what `score` gives at `next_change_at`; it is 0 where that is NEVER.
    """

    segment: Segments
    next_change_at: Int64
    next_segment: Segments


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeChanges:
    """Changes by time within a span, in order of time (then row), and the outlook behind it.

    `row` is the place of the customer in the arrays that were asked about; `ahead` has one entry for each of
    them, and tells what comes after the span.
    """

    row: Int64
    at: Int64
    before: Segments
    after: Segments
    ahead: Outlook

    def __len__(self) -> int:
        return len(self.row)


def outlook(rfm: Rfm, as_of: int | Int64, model: Model) -> Outlook:
    """Return segment, next change and next segment at `as_of` (one moment, or one for each row)."""
    n = len(rfm.last_purchase_at)
    now, at, then = np.empty(n, np.int8), np.empty(n, np.int64), np.empty(n, np.int8)
    moments = np.broadcast_to(np.asarray(as_of, np.int64), n)
    next_change_rows(*rfm, moments, model.monetary_floor, model.params, now, at, then)
    return Outlook(segment=now, next_change_at=at, next_segment=then)


def next_change(rfm: Rfm, as_of: int | Int64, model: Model) -> tuple[Int64, Segments]:
    """Return the moment of the next change after `as_of` (or NEVER), and the segment from then on."""
    ahead = outlook(rfm, as_of, model)
    return ahead.next_change_at, ahead.next_segment


def changes_by_time(rfm: Rfm, since: int | Int64, until: int, model: Model) -> TimeChanges:
    """Return all changes by time alone after `since` and no later than `until`.

    A customer may change several times; each link of the chain is a change of its own.
    """
    return follow(rfm, outlook(rfm, since, model), until, model)


def follow(rfm: Rfm, ahead: Outlook, until: int, model: Model) -> TimeChanges:
    """Return all changes by time no later than `until` that come after the moments of the outlook `ahead`.

    `ahead` is brought up to `until` in place.
    """
    rows, links = [], []
    due = np.flatnonzero((ahead.next_change_at != NEVER) & (ahead.next_change_at <= until))
    while len(due):
        at, after = ahead.next_change_at[due], ahead.next_segment[due]
        rows.append(due)
        links.append((at, ahead.segment[due], after))
        further = outlook(rfm.take(due), at, model)
        ahead.segment[due] = further.segment
        ahead.next_change_at[due] = further.next_change_at
        ahead.next_segment[due] = further.next_segment
        due = due[(further.next_change_at != NEVER) & (further.next_change_at <= until)]
    return _in_order(rows, links, ahead)


def _in_order(
    rows: list[NDArray[np.intp]], links: list[tuple[Int64, Segments, Segments]], ahead: Outlook
) -> TimeChanges:
    if not rows:
        nobody, nothing = np.empty(0, np.int64), np.empty(0, np.int8)
        return TimeChanges(row=nobody, at=nobody, before=nothing, after=nothing, ahead=ahead)
    row = np.concatenate(rows).astype(np.int64)
    at, before, after = (np.concatenate(column) for column in zip(*links, strict=True))
    order = np.lexsort((row, at))
    return TimeChanges(row=row[order], at=at[order], before=before[order], after=after[order], ahead=ahead)
