"""Fitting: laws on made-up shops, figures on the real data."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from dangol.core.decay import changes_by_time
from dangol.core.features import Rfm, features, monetary_floor
from dangol.core.mixture import fit, name_groups
from dangol.core.model_card import FittedOn, Model
from dangol.core.schema import MICROS
from dangol.core.score import score
from dangol.errors import FitRefused

DAY = 86_400 * MICROS
CUTS = ["2011-06-01", "2011-07-01", "2011-08-01", "2011-09-09"]

# weight, mean and standard deviation of log1p recency days, log frequency, log monetary
SHOP = {
    "vip": (0.12, (1.8, 2.4, 8.3), (0.6, 0.35, 0.6)),
    "dormant": (0.40, (5.0, 0.15, 5.4), (0.4, 0.2, 0.6)),
    "mid": (0.28, (3.6, 1.3, 7.0), (0.5, 0.3, 0.5)),
    "low": (0.20, (1.7, 0.4, 5.6), (0.6, 0.3, 0.5)),
}


def shop(n: int = 3000, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return feature rows of a made-up shop and the true segment of each."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(4, n, p=[w for w, _, _ in SHOP.values()]) + 1
    means = np.array([m for _, m, _ in SHOP.values()])
    spreads = np.array([s for _, _, s in SHOP.values()])
    return rng.normal(means[truth - 1], spreads[truth - 1]), truth


def fitted(rows: np.ndarray, seed: int = 0, **options) -> Model:
    about = FittedOn(customers=len(rows), as_of=0, lines=0)
    return fit(rows, seed=seed, monetary_floor=5.0, fitted_on=about, **options)


def real_customers(path, cut: str) -> tuple[Rfm, int, np.ndarray]:
    """Return simple RFM of all lines before the cut, its moment, and the spend in the 90 days after."""
    table = duckdb.execute(
        f"""
        select max(epoch_us(moment)) filter (where q > 0 and moment < $cut) as last_at,
               count(distinct invoice) filter (where q > 0 and moment < $cut) as frequency,
               sum(cast(round(q * price * 1e6) as int64)) filter (where moment < $cut)::int64 as monetary,
               coalesce(sum(q * price) filter (where q > 0
                                               and moment between $cut and $cut + interval 90 day), 0)
                   as ahead
        from (select CustomerID as customer, InvoiceNo as invoice, InvoiceDate as moment, Quantity as q,
                     UnitPrice as price from '{path}'
              where CustomerID is not null and UnitPrice > 0 and (Quantity > 0) <> (InvoiceNo like 'C%'))
        group by customer having frequency > 0 order by customer""",
        {"cut": np.datetime64(cut, "us").astype(object)},
    ).fetchnumpy()
    columns = (np.asarray(table[c], np.int64) for c in ("last_at", "frequency", "monetary"))
    moment = int(np.datetime64(cut, "us").astype(np.int64))
    return Rfm(*columns), moment, np.log1p(np.asarray(table["ahead"], float))


def soft_r2(p: np.ndarray, ahead: np.ndarray) -> float:
    design = np.column_stack([np.ones(len(ahead)), p[:, :-1]])
    rest = ahead - design @ np.linalg.lstsq(design, ahead, rcond=None)[0]
    return 1 - rest.var() / ahead.var()


def test_the_groups_of_a_made_up_shop_are_found_and_named():
    rows, truth = shop()
    assert (score(rows, fitted(rows)).segment == truth).mean() > 0.9


def test_the_same_customers_and_seed_give_the_same_model_in_any_order():
    rows, _ = shop()
    shuffled = np.random.default_rng(2).permutation(rows)
    assert fitted(rows) == fitted(rows) == fitted(shuffled)


def test_seeds_agree():
    rows, _ = shop()
    verdicts = [score(rows, fitted(rows, seed)).segment for seed in range(4)]
    assert min(adjusted_rand_score(verdicts[0], other) for other in verdicts[1:]) > 0.97


def test_customers_without_a_live_invoice_are_left_out():
    rows, _ = shop()
    assert fitted(np.vstack([rows, np.full((50, 3), np.nan)])).groups == fitted(rows).groups


def test_another_currency_moves_only_the_monetary_centres():
    rows, _ = shop()
    pounds, won = fitted(rows), fitted(rows + [0, 0, 7.0])
    moved = np.array([g.mean for g in won.groups]) - [g.mean for g in pounds.groups]
    np.testing.assert_allclose(moved, np.tile([0, 0, 7.0], (4, 1)), atol=1e-6)


def test_names_follow_what_the_groups_mean_and_not_their_order():
    means = np.array([m for _, m, _ in SHOP.values()])
    means = (means - means.mean(axis=0)) / means.std(axis=0)
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(4)
        assert (order[name_groups(means[order])] == np.arange(4)).all()


def test_time_alone_leads_to_the_dormant_group_and_never_out_of_it():
    rows, _ = shop()
    model = fitted(rows)
    rfm = Rfm(
        np.zeros(3000, np.int64),
        np.ceil(np.exp(rows[:, 1])).astype(np.int64),
        (np.exp(rows[:, 2]) * MICROS).astype(np.int64),
    )
    told = changes_by_time(rfm, 0, 250 * 365 * DAY, model)
    assert not (told.before == 2).any()
    assert (told.ahead.segment == 2).mean() > 0.8


def test_progress_tells_each_round():
    rounds: list[int] = []
    fitted(shop()[0], progress=lambda number, gain: rounds.append(number))
    assert rounds == list(range(len(rounds)))
    assert len(rounds) > 3


def test_too_few_customers_are_refused():
    with pytest.raises(FitRefused, match="150 customers have a live invoice, and a fit needs 200"):
        fitted(shop(150)[0])


def test_customers_who_all_bought_once_are_refused():
    rows, _ = shop()
    rows[:, 1] = 0.0
    with pytest.raises(FitRefused, match="log_frequency is the same for all"):
        fitted(rows)


def test_a_shop_where_nobody_stopped_buying_is_refused():
    rows, _ = shop()
    rows[:, 0] = np.random.default_rng(0).normal(2, 0.5, len(rows))
    with pytest.raises(FitRefused, match="dormant"):
        fitted(rows)


def test_a_shop_whose_best_customers_all_left_is_refused():
    rows, truth = shop()
    rows[truth == 1, 0] += 6
    with pytest.raises(FitRefused, match="missing VIP group"):
        fitted(rows)


@pytest.mark.real_data
def test_a_plain_mixture_of_the_real_shop_is_refused(real_data):
    rfm, moment, _ = real_customers(real_data, "2011-09-09")
    with pytest.raises(FitRefused):
        fitted(features(rfm, moment, monetary_floor=5.0), prior=0.0)


@pytest.mark.real_data
@pytest.mark.parametrize("cut", CUTS)
def test_probabilities_foretell_spending_better_than_k_means(real_data, cut):
    rfm, moment, ahead = real_customers(real_data, cut)
    rows = features(rfm, moment, monetary_floor=monetary_floor(rfm))
    scaled = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    k_means = np.eye(4)[KMeans(4, n_init=10, random_state=0).fit_predict(scaled)]
    assert soft_r2(score(rows, fitted(rows)).p, ahead) > 1.05 * soft_r2(k_means, ahead)


@pytest.mark.real_data
def test_groups_of_the_real_shop_are_stable_over_subsets(real_data):
    rfm, moment, _ = real_customers(real_data, "2011-09-09")
    rows = features(rfm, moment, monetary_floor=5.0)
    whole = score(rows, fitted(rows)).segment
    part = np.random.default_rng(0).random(len(rows)) < 0.9
    assert adjusted_rand_score(whole, score(rows, fitted(rows[part])).segment) > 0.9
