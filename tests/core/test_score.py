"""Features, scoring and the model card."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture

from dangol.core.features import Rfm, features, monetary_floor
from dangol.core.model_card import FittedOn, Group, Model, from_json, starting_model, to_json
from dangol.core.schema import MICROS, NEVER, SEGMENTS, STATE
from dangol.core.score import score, score_rfm
from dangol.errors import BadFile, FolderTooNew

DAY = 86_400 * MICROS
NOW = 1_323_000_000 * MICROS

finite = st.floats(allow_nan=False, allow_infinity=False, width=64)
rows = st.lists(st.tuples(finite, finite, finite), min_size=1, max_size=40)


def customers(*rfm: tuple[int, int, int]) -> Rfm:
    """Make Rfm of (last purchase, frequency, monetary in millionths)."""
    return Rfm(*(np.array(column, np.int64) for column in zip(*rfm, strict=True)))


def random_rows(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal((3, 1, 6), (2, 1, 2), (n, 3))


def changed(path: str, value: object) -> str:
    """Return the starting model's JSON with one place changed (`del`: removed)."""
    card = json.loads(to_json(starting_model()))
    *way, last = path.split(".")
    place = card
    for step in way:
        place = place[step]
    if value == "del":
        del place[last]
    else:
        place[last] = value
    return json.dumps(card)


def test_features_are_the_logs_of_days_orders_and_units():
    x = features(customers((NOW - 10 * DAY, 3, 250 * MICROS)), NOW, monetary_floor=1.0)
    assert x == pytest.approx(np.log([[11, 3, 250]]), rel=1e-15)


def test_a_purchase_after_the_as_of_time_has_recency_zero():
    assert features(customers((NOW + DAY, 1, MICROS)), NOW, monetary_floor=1.0)[0, 0] == 0.0


@pytest.mark.parametrize("monetary", [5 * MICROS, 3, 0, -7 * MICROS, -(2**60)])
def test_monetary_below_the_floor_counts_as_the_floor(monetary):
    assert features(customers((NOW, 1, monetary)), NOW, monetary_floor=5.0)[0, 2] == np.log(5.0)


def test_as_of_may_differ_by_row():
    x = features(customers((NOW, 1, 0), (NOW, 1, 0)), np.array([NOW, NOW + DAY]), monetary_floor=1.0)
    assert x[:, 0].tolist() == [0.0, np.log(2.0)]


def test_the_monetary_floor_is_a_hundredth_of_the_median_in_any_currency():
    pounds = customers(*[(NOW, 1, x * MICROS) for x in (-5, 100, 654, 2000)], (NEVER, 0, 9 * MICROS))
    assert monetary_floor(pounds) == 6.5
    assert monetary_floor(pounds._replace(monetary=pounds.monetary * 1000)) == 6500
    assert monetary_floor(customers((NOW, 1, -5))) == 1.0


def test_no_live_invoice_gives_none_and_zeros():
    states = np.zeros(2, STATE)
    states["last_purchase_at"] = NEVER
    states["monetary"] = 77 * MICROS
    scores = score_rfm(Rfm.of(states), NOW, starting_model())
    assert scores.segment.tolist() == [0, 0]
    assert not scores.p.any()


@pytest.mark.parametrize(
    ("name", "days", "frequency", "units"),
    [("vip", 5, 15, 6000), ("dormant", 200, 1, 250), ("mid", 30, 4, 1200), ("low", 3, 1, 300)],
)
def test_the_starting_model_knows_the_plain_cases(name, days, frequency, units):
    scores = score_rfm(customers((NOW - days * DAY, frequency, units * MICROS)), NOW, starting_model())
    assert SEGMENTS[scores.segment[0]] == name


def test_probabilities_agree_with_scikit_learn():
    model = starting_model()
    oracle = GaussianMixture(n_components=4)
    oracle.weights_ = np.array([g.weight for g in model.groups])
    oracle.means_ = np.array([g.mean for g in model.groups])
    oracle.covariances_ = np.array([g.covariance for g in model.groups])
    precisions = np.linalg.inv(oracle.covariances_)
    oracle.precisions_cholesky_ = np.stack([np.linalg.cholesky(p) for p in precisions])
    x = random_rows(500)
    scores = score(x, model)
    np.testing.assert_allclose(scores.p, oracle.predict_proba(x), rtol=1e-9, atol=1e-12)
    assert (scores.segment == oracle.predict(x) + 1).all()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 999])
def test_a_row_is_judged_the_same_to_the_last_bit_in_any_batch(size):
    x, model = random_rows(1000), starting_model()
    whole = score(x, model)
    parts = [score(x[i : i + size], model) for i in range(0, len(x), size)]
    assert np.concatenate([part.p for part in parts]).tobytes() == whole.p.tobytes()
    assert (np.concatenate([part.segment for part in parts]) == whole.segment).all()


def test_features_do_not_depend_on_the_batch_or_its_layout():
    states = np.zeros(1000, STATE)
    rng = np.random.default_rng(1)
    states["last_purchase_at"] = NOW - rng.integers(0, 1000 * DAY, 1000)
    states["frequency"] = rng.geometric(0.3, 1000)
    states["monetary"] = rng.integers(0, 10**10, 1000)
    rfm = Rfm.of(states)
    whole = features(rfm, NOW, monetary_floor=1.0)
    alone = [features(rfm.take(np.array([i])), NOW, monetary_floor=1.0) for i in range(1000)]
    assert np.concatenate(alone).tobytes() == whole.tobytes()


@given(rows)
def test_any_finite_row_gets_a_segment_and_probabilities_that_add_up(cells):
    scores = score(np.array(cells), starting_model())
    assert ((scores.segment >= 1) & (scores.segment <= 4)).all()
    np.testing.assert_allclose(scores.p.sum(axis=1), 1, rtol=1e-12)
    assert (scores.p[np.arange(len(cells)), scores.segment - 1] == scores.p.max(axis=1)).all()


@given(st.lists(st.floats(1e-300, 1e300), min_size=12, max_size=12), st.integers(0, 4 * 10**15))
@settings(max_examples=50)
def test_a_model_comes_back_from_json_as_it_was(numbers, moment):
    model = Model(
        groups=tuple(
            Group(
                weight=0.25,
                mean=tuple(numbers[3 * k : 3 * k + 3]),
                covariance=starting_model().groups[k].covariance,
            )
            for k in range(4)
        ),
        monetary_floor=numbers[0],
        version=3,
        created_at=moment,
        fitted_on=FittedOn(customers=7, as_of=moment, lines=9),
        seed=5,
    )
    back = from_json(to_json(model))
    assert back == model
    assert back.params.tobytes() == model.params.tobytes()


def test_a_model_given_a_version_judges_as_before():
    numbered = replace(starting_model(), version=4)
    assert numbered.version == 4
    assert numbered.params.tobytes() == starting_model().params.tobytes()


def test_the_starting_model_says_so_and_names_its_source():
    model = starting_model()
    assert model.starting
    assert "CC BY 4.0" in model.source


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "format is None"),
        (changed("groups.vip", "del"), "'vip' is missing"),
        (changed("kind", "odd"), "kind is 'odd'"),
        (changed("created_at", "yesterday"), "cannot be read"),
        (changed("features.names", ["a"]), "features are"),
        (changed("features.monetary_floor", 0), "monetary_floor"),
        (changed("groups.low.weight", 0.5), "do not add up"),
        (changed("groups.low.weight", float("nan")), "group low"),
        (changed("groups.low.mean", [1, 2]), "group low: the mean needs 3"),
        (changed("groups.low.covariance", [[1, 0, 0], [0, 1, 0], [0, 0, 0]]), "positive definite"),
        (changed("groups.low.covariance", [[1, 0, 0], [1, 1, 0], [0, 0, 1]]), "not symmetric"),
        (changed("groups.low.mean", "abc"), "cannot be read"),
    ],
)
def test_a_damaged_card_is_refused_with_the_reason(text, reason):
    with pytest.raises(BadFile, match=reason):
        from_json(text)


def test_a_card_of_a_newer_format_asks_for_a_newer_program():
    with pytest.raises(FolderTooNew, match="newer dangol"):
        from_json(changed("format", 2))


def test_a_model_with_too_few_groups_is_refused():
    with pytest.raises(BadFile, match="3 groups"):
        replace(starting_model(), groups=starting_model().groups[:3])
