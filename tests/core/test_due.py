"""The queue of coming changes forgets nobody and names nobody twice."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dangol.core import due as module
from dangol.core.due import DueQueue
from dangol.core.schema import NEVER

MOMENT = st.integers(1, 40) | st.just(NEVER)
STEPS = st.lists(
    st.tuples(st.lists(st.tuples(st.integers(0, 14), MOMENT), max_size=6), st.integers(0, 5)), max_size=25
)


@settings(max_examples=200)
@given(st.lists(MOMENT, min_size=15, max_size=15), STEPS)
def test_who_is_due_equals_a_look_at_everybody(begin: list[int], steps) -> None:
    moments, now = np.array(begin, np.int64), 0
    queue = DueQueue(moments)
    for touched, passed in steps:
        for slot, moment in touched:
            moments[slot] = moment if moment == NEVER else now + moment
        queue.touch(np.unique([slot for slot, _ in touched]).astype(np.int64), moments)
        now += passed
        waiting = np.flatnonzero((moments != NEVER) & (moments <= now))
        earliest = queue.earliest()
        assert not len(waiting) or (earliest is not None and earliest <= moments[waiting].min())
        assert queue.due(now, moments).tolist() == waiting.tolist()
        moments[waiting] = NEVER  # whoever is due is given a new moment
        queue.touch(waiting, moments)


def test_nobody_is_due_in_an_empty_shop() -> None:
    queue = DueQueue(np.empty(0, np.int64))
    assert queue.earliest() is None
    assert queue.due(10, np.empty(0, np.int64)).tolist() == []


def test_many_touches_rebuild_the_list_and_lose_none() -> None:
    assert module.__doc__
    moments = np.full(5000, NEVER, np.int64)
    queue = DueQueue(moments)
    for slot in range(5000):
        moments[slot] = 10_000 - slot
        queue.touch(np.array([slot]), moments)
    assert queue.earliest() == 5001
    assert queue.due(5010, moments).tolist() == list(range(4990, 5000))


def test_new_customers_are_found_too() -> None:
    moments = np.array([5], np.int64)
    queue = DueQueue(moments)
    moments = np.array([5, 3], np.int64)
    queue.touch(np.array([1]), moments)
    assert queue.due(3, moments).tolist() == [1]
