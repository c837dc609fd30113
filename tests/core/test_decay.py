"""The moment of the next change, against brute force over the scoring itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dangol.core.decay import HORIZON, changes_by_time, next_change, outlook
from dangol.core.features import Rfm
from dangol.core.model_card import Group, Model, starting_model
from dangol.core.schema import MICROS, NEVER
from dangol.core.score import score_rfm

SECOND = MICROS
DAY = 86_400 * SECOND
NOW = 1_323_000_000 * SECOND


def random_model(seed: int) -> Model:
    """Any four full-covariance groups near where customers are, some of them tight, some alike."""
    rng = np.random.default_rng(seed)
    groups = []
    for _ in range(4):
        root = rng.normal(0, rng.choice([0.1, 0.5, 1.5]), (3, 3))
        covariance = root @ root.T + rng.choice([1e-3, 0.1, 0.5]) * np.eye(3)
        covariance = (covariance + covariance.T) / 2
        mean = rng.normal((3, 1, 6), (2, 1, 2))
        groups.append(Group(weight=0.25, mean=tuple(mean), covariance=tuple(map(tuple, covariance))))
    if seed % 5 == 0:
        groups[1] = Group(weight=0.25, mean=groups[2].mean, covariance=groups[2].covariance)
    return Model(groups=tuple(groups), monetary_floor=1.0)


def random_customers(seed: int, n: int) -> Rfm:
    rng = np.random.default_rng(seed)
    age = np.exp(rng.uniform(np.log(SECOND), np.log(2000 * DAY), n)).astype(np.int64)
    age[:2] = 0, -3 * DAY
    money = (np.exp(rng.normal(6, 2, n)) * MICROS).astype(np.int64)
    return Rfm(NOW - age, rng.geometric(0.3, n).astype(np.int64), money)


def one(last: int, frequency: int, units: int) -> Rfm:
    return Rfm(*(np.array([value], np.int64) for value in (last, frequency, units * MICROS)))


def segment_at(rfm: Rfm, as_of, model: Model) -> np.ndarray:
    return score_rfm(rfm, as_of, model).segment


def spread_moments(at: int, until: int) -> np.ndarray:
    """20,000 moments strictly between, dense near both ends and even in between."""
    gap = until - at
    near = np.unique(np.exp(np.linspace(0, np.log(max(gap, 2)), 7_000)).astype(np.int64))
    moments = np.concatenate([at + near, until - near, np.linspace(at, until, 6_000).astype(np.int64)])
    return np.unique(moments[(moments > at) & (moments < until)])


@given(st.integers(0, 10**6), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_the_change_comes_at_its_very_microsecond(model_seed, seed):
    model, rfm = random_model(model_seed), random_customers(seed, 50)
    ahead = outlook(rfm, NOW, model)
    assert (ahead.segment == segment_at(rfm, NOW, model)).all()
    due = np.flatnonzero(ahead.next_change_at != NEVER)
    at, some = ahead.next_change_at[due], rfm.take(due)
    assert (at > NOW).all()
    assert (segment_at(some, at - 1, model) == ahead.segment[due]).all()
    assert (segment_at(some, at, model) == ahead.next_segment[due]).all()
    assert (ahead.next_segment[due] != ahead.segment[due]).all()


@given(st.integers(0, 10**6), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_nothing_changes_before_the_next_change(model_seed, seed):
    model, rfm = random_model(model_seed), random_customers(seed, 6)
    ahead = outlook(rfm, NOW, model)
    for i in range(6):
        end = HORIZON if ahead.next_change_at[i] == NEVER else int(ahead.next_change_at[i])
        moments = spread_moments(NOW, end)
        same = rfm.take(np.full(len(moments), i))
        assert (segment_at(same, moments, model) == ahead.segment[i]).all()


@pytest.mark.parametrize("seed", range(4))
def test_every_second_of_two_days_agrees_with_the_chain(seed):
    model, rfm = random_model(seed), random_customers(seed, 5)
    seconds = NOW + SECOND * np.arange(2 * 86_400)
    told = changes_by_time(rfm, NOW, int(seconds[-1]), model)
    for i in range(5):
        scored = segment_at(rfm.take(np.full(len(seconds), i)), seconds, model)
        chain = told.row == i
        links = np.searchsorted(told.at[chain], seconds, side="right")
        expected = np.concatenate([scored[:1], told.after[chain]])[links]
        assert (scored == expected).all()


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 400 * 365))
@settings(max_examples=60, deadline=None)
def test_a_jump_of_the_clock_gives_the_same_changes_as_small_steps(model_seed, seed, days):
    model, rfm = random_model(model_seed), random_customers(seed, 30)
    until, middle = min(NOW + days * DAY, HORIZON), NOW + min(days, 80_000) * DAY // 3
    whole = changes_by_time(rfm, NOW, until, model)
    first = changes_by_time(rfm, NOW, middle, model)
    rest = changes_by_time(rfm, middle, until, model)
    for column in ("row", "at", "before", "after"):
        parts = np.concatenate([getattr(first, column), getattr(rest, column)])
        assert (parts == getattr(whole, column)).all()
    for column in ("segment", "next_change_at", "next_segment"):
        assert (getattr(whole.ahead, column) == getattr(outlook(rfm, until, model), column)).all()


def test_a_chain_has_each_link_once_and_in_order_of_time():
    model, rfm = starting_model(), random_customers(3, 3000)
    told = changes_by_time(rfm, NOW, NOW + 3000 * DAY, model)
    assert len(told) > len(np.unique(told.row)) > 500
    assert (np.diff(told.at) >= 0).all()
    for row in np.unique(told.row)[:200]:
        chain = told.row == row
        assert (told.before[chain][1:] == told.after[chain][:-1]).all()
        assert told.after[chain][-1] == told.ahead.segment[row]


def test_two_crossings_in_one_second_are_both_found():
    # group 2 is a needle of recency, so narrow that a customer is in it for a moment only
    wide = ((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0))
    needle = ((1e-13, 0, 0), (0, 1.0, 0), (0, 0, 1.0))
    far = Group(weight=0.01, mean=(50.0, 50.0, 50.0), covariance=wide)
    model = Model(
        groups=(
            Group(weight=0.97, mean=(3.0, 0.0, 5.0), covariance=wide),
            Group(weight=0.01, mean=(float(np.log(31)), 0.0, 5.0), covariance=needle),
            far,
            far,
        ),
        monetary_floor=1.0,
    )
    told = changes_by_time(one(NOW, 1, 150), NOW, NOW + 60 * DAY, model)
    assert told.after.tolist() == [2, 1]
    assert told.at[0] < NOW + 30 * DAY < told.at[1]
    assert told.at[1] - told.at[0] < 20 * SECOND


def test_groups_that_only_touch_change_nothing():
    # at equal frequency and monetary, group 2 is nowhere likelier than group 1, and as likely at one recency
    wide = ((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0))
    narrow = ((0.25, 0, 0), (0, 1.0, 0), (0, 0, 1.0))
    touching = [
        Group(weight=0.6, mean=(3.0, 0.0, 5.0), covariance=wide),
        Group(weight=0.3, mean=(3.0, 0.0, 5.0), covariance=narrow),
    ]
    far = [Group(weight=0.05, mean=(90.0, 50.0, 50.0), covariance=wide)] * 2
    model = Model(groups=(*touching, *far), monetary_floor=1.0)
    told = changes_by_time(one(NOW, 1, 150), NOW, HORIZON, model)
    # rounding decides the touch; whichever way, the customer ends where they began
    assert told.ahead.segment.tolist() == [1]
    assert len(told) in (0, 2)


def test_equal_groups_never_take_turns():
    same = starting_model().groups[1]
    model = Model(
        groups=tuple(Group(weight=0.25, mean=same.mean, covariance=same.covariance) for _ in range(4)),
        monetary_floor=1.0,
    )
    at, then = next_change(random_customers(0, 100), NOW, model)
    assert (at == NEVER).all()
    assert not then.any()


def test_a_customer_with_no_live_invoice_never_changes():
    told = outlook(one(NEVER, 0, 0), NOW, starting_model())
    assert (told.segment[0], told.next_change_at[0], told.next_segment[0]) == (0, NEVER, 0)


def test_a_purchase_ahead_of_the_clock_is_counted_from_its_own_time():
    ahead = outlook(one(NOW + 5 * DAY, 1, 300), NOW, starting_model())
    later = outlook(one(NOW + 5 * DAY, 1, 300), NOW + 5 * DAY, starting_model())
    assert ahead.next_change_at[0] == later.next_change_at[0] > NOW + 5 * DAY


def test_behind_the_horizon_nothing_is_looked_for():
    assert next_change(one(HORIZON + DAY, 1, 300), HORIZON + DAY, starting_model())[0][0] == NEVER
    assert next_change(one(NOW, 1, 300), HORIZON, starting_model())[0][0] == NEVER


def test_who_stops_buying_turns_dormant_and_stays_so():
    rfm = one(NOW, 2, 500)
    told = changes_by_time(rfm, NOW, NOW + 365 * DAY, starting_model())
    assert told.after[-1] == 2
    assert told.ahead.next_change_at[0] == NEVER
