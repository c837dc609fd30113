"""Who moved, when and why: moves form chains, and time passes the same in one step or in many."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dangol.core.changes import Moves, Span, moves_by_model, moves_by_time, moves_of_touched
from dangol.core.decay import outlook
from dangol.core.features import Rfm
from dangol.core.fold import empty_states
from dangol.core.model_card import starting_model
from dangol.core.schema import MICROS, NEVER

MODEL = starting_model()
DAY = 86_400 * MICROS
NOW = 1_300_000_000 * MICROS


def customers(*facts: tuple[int, int, int], at: int = NOW):
    """States of customers with (days since the last purchase, frequency, money), as judged at `at`."""
    states = empty_states(len(facts))
    for state, (days, frequency, money) in zip(states, facts, strict=True):
        state["frequency"], state["monetary"] = frequency, money * MICROS
        state["last_purchase_at"] = at - days * DAY if frequency else NEVER
    ahead = outlook(Rfm.of(states), at, MODEL)
    states["segment"], states["next_change_at"] = ahead.segment, ahead.next_change_at
    states["next_segment"] = ahead.next_segment
    return states


def rows(moves: Moves) -> list[tuple[int, ...]]:
    columns = (moves.slot, moves.at, moves.before, moves.after, moves.cause)
    return list(zip(*(column.tolist() for column in columns), strict=True))


FACTS = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 40), st.integers(1, 20_000)), min_size=1, max_size=8
)


@settings(max_examples=60, deadline=None)
@given(FACTS, st.lists(st.integers(1, 4000), max_size=5))
def test_time_passes_the_same_in_one_step_or_in_many(facts, days: list[int]) -> None:
    ends = [NOW, *(NOW + day * DAY for day in sorted(set(days)))]
    slots = np.arange(len(facts))
    at_once, stepped = customers(*facts), customers(*facts)
    whole = rows(moves_by_time(slots, at_once, Span(since=NOW, until=ends[-1]), MODEL))
    parts = []
    for since, until in zip(ends[:-1], ends[1:], strict=True):
        parts += rows(moves_by_time(slots, stepped, Span(since=since, until=until), MODEL))
    assert parts == whole
    assert stepped.tobytes() == at_once.tobytes()


@settings(max_examples=60, deadline=None)
@given(FACTS, st.integers(1, 4000))
def test_moves_by_time_form_chains_that_end_in_the_present_segment(facts, days: int) -> None:
    states = customers(*facts)
    held = states["segment"].tolist()
    for slot, at, before, after, cause in rows(
        moves_by_time(np.arange(len(facts)), states, Span(since=NOW, until=NOW + days * DAY), MODEL)
    ):
        assert (before, cause) == (held[slot], 1)
        assert NOW < at <= NOW + days * DAY
        held[slot] = after
    assert states["segment"].tolist() == held
    assert outlook(Rfm.of(states), NOW + days * DAY, MODEL).segment.tolist() == held


def test_a_first_purchase_is_a_move_by_events_at_its_moment() -> None:
    before, after = customers((0, 0, 0)), customers((0, 1, 50))
    line = np.array([NOW - DAY])
    after["last_purchase_at"] = line
    moves = moves_of_touched(
        np.array([4]), before, after, (line, line), Span(since=NOW - 2 * DAY, until=NOW), MODEL
    )
    assert rows(moves)[0] == (4, NOW - DAY, 0, int(moves.after[0]), 0)
    assert after["segment_since"][0] == moves.at[-1]


def test_a_customer_who_slept_and_came_back_moves_by_time_first_then_by_events() -> None:
    before = customers((0, 1, 50))
    wakes = int(before["next_change_at"][0]) + 10 * DAY
    after = before.copy()
    after["frequency"], after["monetary"], after["last_purchase_at"] = 2, 100 * MICROS, wakes
    line = np.array([wakes])
    found = rows(
        moves_of_touched(np.array([0]), before, after, (line, line), Span(since=NOW, until=wakes), MODEL)
    )
    assert [cause for *_, cause in found][:2] == [1, 0]
    assert found[0][1] == before["next_change_at"][0]
    assert [move[3] for move in found[:-1]] == [move[2] for move in found[1:]]


def test_another_model_moves_customers_at_once() -> None:
    states = customers((0, 1, 50), (200, 30, 9000))
    states["segment"] = [4, 4]
    expected = outlook(Rfm.of(states), NOW, MODEL).segment.tolist()
    moves = moves_by_model(np.array([3, 8]), states, NOW, MODEL)
    assert states["segment"].tolist() == expected
    assert {cause for *_, cause in rows(moves)} <= {2}
    assert len(moves) == sum(segment != 4 for segment in expected)


@pytest.mark.parametrize("first", [1, 100])
def test_each_change_names_the_one_before_it(first: int) -> None:
    moves = Moves(
        slot=np.array([5, 7, 5, 5]), at=np.arange(4), before=np.zeros(4, np.int64), after=np.ones(4, np.int64),
        cause=np.zeros(4, np.int64),
    )  # fmt: skip
    previous = moves.previous(first, np.array([90, 0, 90, 90]))
    assert previous.tolist() == [90, 0, first, first + 2]


def test_joined_moves_are_in_order_of_time() -> None:
    def part(*at: int) -> Moves:
        moments = np.array(at)
        return Moves(slot=moments, at=moments, before=moments, after=moments, cause=moments)

    assert part(1, 5).followed_by(part(2, 9)).at.tolist() == [1, 2, 5, 9]
