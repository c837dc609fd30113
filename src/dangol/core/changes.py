"""Who moved, when and why: segment changes between the states before and after a batch.

A customer whom the batch touches is judged at the time of its latest line there, and from then on by time
alone; a customer whom it does not touch moves by time alone. So for lines that come in order a change has
the same moment however they were cut into batches, if no batch holds lines of two moments of one customer:
what lies between those is judged once, at the later one. For any lines and cuts the chain of changes is
unbroken, its times never go back, and it ends in the same segment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dangol.core.decay import Outlook, changes_by_time, follow, outlook
from dangol.core.features import Rfm
from dangol.core.model_card import Model
from dangol.core.schema import NEVER, Int64, States

__all__ = ["CAUSES", "Moves", "Span", "moves_by_model", "moves_by_time", "moves_of_touched"]

CAUSES = ("events", "time", "model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """Segment changes in order of time; `before` and `after` are places in SEGMENTS, `cause` in CAUSES."""

    slot: Int64
    at: Int64
    before: Int64
    after: Int64
    cause: Int64

    def __len__(self) -> int:
        return len(self.slot)

    @classmethod
    def of(cls, parts: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any], int]]) -> Moves:
        """Join (slot, at, before, after, cause) parts and put them in order of time, then slot, then cause."""
        none = np.empty(0, np.int64)
        slot, at, before, after = (
            np.concatenate([none, *(part[i] for part in parts)]).astype(np.int64) for i in range(4)
        )
        cause = np.concatenate([none, *(np.full(len(part[0]), part[4], np.int64) for part in parts)])
        order = np.lexsort((np.arange(len(slot)), slot, at))
        return cls(
            slot=slot[order], at=at[order], before=before[order], after=after[order], cause=cause[order]
        )

    def followed_by(self, other: Moves) -> Moves:
        """Return both, in order of time."""
        both = [np.concatenate(pair) for pair in zip(self._columns(), other._columns(), strict=True)]
        slot, at, before, after, cause = both
        order = np.argsort(at, kind="stable")
        return Moves(
            slot=slot[order], at=at[order], before=before[order], after=after[order], cause=cause[order]
        )

    def _columns(self) -> tuple[Int64, ...]:
        return self.slot, self.at, self.before, self.after, self.cause

    def previous(self, first: int, last_change: Int64) -> Int64:
        """Return for each change the number of its customer's change before it.

        The changes are numbered from `first`; `last_change` [n] is the customer's last number before them.
        """
        order = np.lexsort((np.arange(len(self)), self.slot))
        same = np.concatenate([[False], np.diff(self.slot[order]) == 0])
        number = order + first
        previous = np.empty(len(self), np.int64)
        previous[order] = np.where(same, np.concatenate([[0], number[:-1]]), last_change[order])
        return previous


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The step of the engine's clock that a batch makes."""

    since: int
    until: int


def moves_by_time(slots: Int64, states: States, span: Span, model: Model) -> Moves:
    """Let time pass for customers without lines; `states` [n] are brought up to date in place."""
    changes = changes_by_time(Rfm.of(states), span.since, span.until, model)
    _settle(states, changes.ahead, model)
    moves = Moves.of([(slots[changes.row], changes.at, changes.before, changes.after, 1)])
    _keep_since(states, slots, moves)
    return moves


def moves_of_touched(
    slots: Int64, before: States, after: States, lines: tuple[Int64, Int64], span: Span, model: Model
) -> Moves:
    """Judge customers with lines; `lines` are the times of the first and last line of each in the batch.

    `after` [n] gets its segment, next change and model in place.
    """
    first, last = (np.clip(times, span.since, span.until) for times in lines)
    due = np.flatnonzero((before["next_change_at"] != NEVER) & (before["next_change_at"] < first))
    waiting = changes_by_time(Rfm.of(before[due]), span.since, span.until, model)
    earlier = waiting.at < first[due[waiting.row]]
    row, at, left, entered = (
        c[earlier] for c in (due[waiting.row], waiting.at, waiting.before, waiting.after)
    )
    held = before["segment"].copy()
    held[row] = entered  # in order of time: the last one stays
    judged = outlook(Rfm.of(after), last, model)
    moved = np.flatnonzero(judged.segment != held)
    verdict = judged.segment.copy()
    since = follow(Rfm.of(after), judged, span.until, model)
    _settle(after, since.ahead, model)
    moves = Moves.of(
        [
            (slots[row], at, left, entered, 1),
            (slots[moved], last[moved], held[moved], verdict[moved], 0),
            (slots[since.row], since.at, since.before, since.after, 1),
        ]
    )
    _keep_since(after, slots, moves)
    return moves


def moves_by_model(slots: Int64, states: States, clock: int, model: Model) -> Moves:
    """Judge customers anew by another model at `clock`; `states` [n] are brought up to date in place."""
    held = states["segment"].copy()
    judged = outlook(Rfm.of(states), clock, model)
    _settle(states, judged, model)
    moved = np.flatnonzero(judged.segment != held)
    at = np.full(len(moved), clock, np.int64)
    moves = Moves.of([(slots[moved], at, held[moved], judged.segment[moved], 2)])
    _keep_since(states, slots, moves)
    return moves


def _settle(states: States, ahead: Outlook, model: Model) -> None:
    states["segment"] = ahead.segment
    states["next_change_at"] = ahead.next_change_at
    states["next_segment"] = np.where(ahead.next_change_at == NEVER, 0, ahead.next_segment)
    states["model"] = model.version


def _keep_since(states: States, slots: Int64, moves: Moves) -> None:
    states["segment_since"][np.searchsorted(slots, moves.slot)] = moves.at
