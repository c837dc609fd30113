"""Fits the four-group Gaussian mixture to customers' features, names the groups, and refuses a bad fit.

A plain mixture collapses onto the discreteness of frequency: it spends components on "bought once" and
"bought twice" and finds no dormant group. Here the covariances are held together:

- those of frequency and monetary are drawn toward the pooled within-group covariance of a k-means start, with
  the weight of `PRIOR` times the number of customers (inverse-Wishart prior, EM for the posterior mode)
- recency, given the other two, has one slope and one variance in all groups, and the slope is held back so
  that time alone leads every customer to the dormant group in the end. With a freely drawn covariance the
  far tails decide, and dormant customers turn into VIPs by waiting (figures in docs/model.md).

The same customers and seed give the same model, whatever order the customers come in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dangol.core.features import FEATURES, Floats
from dangol.core.model_card import FittedOn, Group, Model
from dangol.core.schema import SEGMENTS
from dangol.errors import FitRefused

__all__ = ["MIN_CUSTOMERS", "PRIOR", "fit", "name_groups"]

PRIOR = 0.75
"""Weight of the pooled covariance, as a share of the customers (measured in docs/model.md)."""

MIN_CUSTOMERS = 200
GROUPS = len(SEGMENTS) - 1

_STARTS = 10
_SEEDING_ROWS = 20_000  # enough to find the centres; the whole is used from there on
_MAX_ROUNDS = 500
_TOLERANCE = 1e-9  # of the log-posterior per customer and round
_KEPT_GAP = 0.75  # share of dormant's lead in mean recency that must remain at equal frequency and monetary
_FLOOR = 1e-6  # added to the variances, in units of the features' own variance
_COLLAPSED = 1e-4  # smallest variance a group may have in any direction, in the same unit
_SMALLEST_SHARE = 0.005
_DORMANT_GAP = 0.3  # standard deviations of log recency between dormant and the next group

Labels = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mixture:
    """Components in units of the standardised features: weights [4], means [4, 3], covariances [4, 3, 3]."""

    weights: Floats
    means: Floats
    covariances: Floats


def fit(
    rows: Floats,
    *,
    seed: int,
    monetary_floor: float,
    fitted_on: FittedOn,
    created_at: int | None = None,
    prior: float = PRIOR,
    progress: Callable[[int, float], None] | None = None,
) -> Model:
    """Fit a model to feature rows (`[n, 3]`; rows of NaN are left out), or raise `FitRefused`.

    `monetary_floor` is the one the features were made with. `progress` is called after each round with its
    number and the gain in log-posterior per customer, which falls to `1e-9`.
    """
    known = rows[~np.isnan(rows).any(axis=1)]
    known = known[np.lexsort(known.T)]
    centre, spread = _scale(known)
    scaled = (known - centre) / spread
    mixture = _climb(scaled, _k_means(scaled, seed), prior, progress)
    reason = _flaw(mixture, scaled)
    if reason:  # where buying once is the rule, k-means cuts by frequency alone
        mixture = _climb(scaled, _by_meaning(scaled), prior, progress)
        if _flaw(mixture, scaled):
            _refuse(reason)
    return Model(
        groups=tuple(_group(mixture, k, centre, spread) for k in range(GROUPS)),
        monetary_floor=monetary_floor,
        created_at=created_at,
        fitted_on=fitted_on,
        seed=seed,
    )


def name_groups(means: Floats) -> Labels:
    """Return which component each of vip, dormant, mid and low is, by what the groups mean.

    `means` is `[4, 3]` in units of the features' standard deviations. Dormant bought longest ago; of the rest
    vip has the highest frequency and monetary together, and mid a higher monetary than low.
    """
    dormant = int(np.argmax(means[:, 0]))
    rest = [k for k in range(GROUPS) if k != dormant]
    vip = max(rest, key=lambda k: (means[k, 1] + means[k, 2], -k))
    mid, low = sorted((k for k in rest if k != vip), key=lambda k: (-means[k, 2], k))
    return np.array([vip, dormant, mid, low])


def _scale(rows: Floats) -> tuple[Floats, Floats]:
    """Return centre and standard deviation of each feature; refuse what cannot be told apart."""
    if len(rows) < MIN_CUSTOMERS:
        _refuse(f"{len(rows)} customers have a live invoice, and a fit needs {MIN_CUSTOMERS}")
    spread = rows.std(axis=0)
    for name, value in zip(FEATURES, spread, strict=True):
        if value < 1e-6:
            _refuse(f"collapsed covariance: {name} is the same for all customers")
    return rows.mean(axis=0), spread


def _k_means(rows: Floats, seed: int) -> Labels:
    """Return the best of several k-means++ runs: the nearest centre of each row."""
    rng = np.random.default_rng(seed)
    sample = rows
    if len(rows) > _SEEDING_ROWS:
        sample = rows[rng.choice(len(rows), _SEEDING_ROWS, replace=False)]
    runs = [_lloyd(sample, _plus_plus(sample, rng)) for _ in range(_STARTS)]
    best = min(runs, key=lambda run: run[1])[0]
    centres, _ = _lloyd(rows, best)
    nearest: Labels = _squared_distances(rows, centres).argmin(axis=1)
    return nearest


def _plus_plus(rows: Floats, rng: np.random.Generator) -> Floats:
    """Draw centres one by one, each with a chance by its squared distance from those before."""
    centres: Floats = rows[rng.integers(len(rows))][None, :]
    for _ in range(GROUPS - 1):
        reach = np.cumsum(_squared_distances(rows, centres).min(axis=1))
        place = int(np.searchsorted(reach, rng.random() * reach[-1], side="right"))
        centres = np.vstack([centres, rows[min(place, len(rows) - 1)][None, :]])
    return centres


def _lloyd(rows: Floats, centres: Floats) -> tuple[Floats, float]:
    """Move centres to the means of their rows until they rest; return them and the inertia."""
    for _ in range(300):
        distances = _squared_distances(rows, centres)
        nearest = distances.argmin(axis=1)
        counts = np.bincount(nearest, minlength=GROUPS)
        sums = [np.bincount(nearest, weights=column, minlength=GROUPS) for column in rows.T]
        moved = np.where(counts[:, None] > 0, np.column_stack(sums) / np.maximum(counts, 1)[:, None], centres)
        rested = bool(np.abs(moved - centres).max() < 1e-6)
        centres = moved
        if rested:
            break
    return centres, float(_squared_distances(rows, centres).min(axis=1).sum())


def _squared_distances(rows: Floats, centres: Floats) -> Floats:
    distances: Floats = np.stack([np.square(rows - centre).sum(axis=1) for centre in centres], axis=1)
    return distances


def _by_meaning(rows: Floats) -> Labels:
    """Return a start from what the groups mean: a third long gone; of the others a sixth, a third, the rest."""
    value = rows[:, 1] + rows[:, 2]
    gone = rows[:, 0] > np.quantile(rows[:, 0], 2 / 3)
    cuts = np.quantile(value[~gone], [1 / 2, 5 / 6])
    start: Labels = np.where(gone, 3, np.searchsorted(cuts, value))
    return start


def _climb(
    rows: Floats, start: Labels, prior: float, progress: Callable[[int, float], None] | None
) -> _Mixture:
    """Return the mixture found from a start, its groups in the order of SEGMENTS."""
    mixture = _expectation_maximisation(rows, start, prior, progress)
    return _ordered(mixture, name_groups(mixture.means))


def _expectation_maximisation(
    rows: Floats, start: Labels, prior: float, progress: Callable[[int, float], None] | None
) -> _Mixture:
    """Climb from the start to the posterior mode."""
    pooled = _pooled(rows, start)
    mixture = _maximise(rows, np.eye(GROUPS)[start], pooled, prior)
    before = -np.inf
    for number in range(_MAX_ROUNDS):
        shares, height = _expect(rows, mixture)
        height += prior * _log_prior(mixture, pooled)
        if progress is not None:
            progress(number, height - before)
        if abs(height - before) < _TOLERANCE:
            break
        before = height
        mixture = _maximise(rows, shares, pooled, prior)
    return mixture


def _pooled(rows: Floats, labels: Labels) -> Floats:
    """Return the covariance of the rows about the means of their groups."""
    counts = np.maximum(np.bincount(labels, minlength=GROUPS), 1)
    sums = np.column_stack([np.bincount(labels, weights=column, minlength=GROUPS) for column in rows.T])
    apart = rows - (sums / counts[:, None])[labels]
    pooled: Floats = apart.T @ apart / len(rows) + _FLOOR * np.eye(3)
    return pooled


def _maximise(rows: Floats, shares: Floats, pooled: Floats, prior: float) -> _Mixture:
    """Return the likeliest mixture for rows with the given shares.

    Frequency and monetary have a covariance for each group, drawn to `pooled`. Recency given the two has one
    slope and one variance in all groups.
    """
    counts = shares.sum(axis=0) + 1e-9
    means = shares.T @ rows / counts[:, None]
    scatters = np.empty((GROUPS, 3, 3))
    for k in range(GROUPS):
        apart = rows - means[k]
        scatters[k] = (apart * shares[:, k : k + 1]).T @ apart
    within = scatters.sum(axis=0) / len(rows) + _FLOOR * np.eye(3)
    slope = np.linalg.solve(within[1:, 1:], within[1:, 0])
    slope *= _held_back(means, slope)
    variance = within[0, 0] - 2 * slope @ within[1:, 0] + slope @ within[1:, 1:] @ slope
    drawn = prior * len(rows)
    covariances = np.empty((GROUPS, 3, 3))
    for k in range(GROUPS):
        value = (scatters[k, 1:, 1:] + drawn * pooled[1:, 1:]) / (counts[k] + drawn) + _FLOOR * np.eye(2)
        covariances[k, 1:, 1:] = value
        covariances[k, 0, 1:] = covariances[k, 1:, 0] = value @ slope
        covariances[k, 0, 0] = variance + slope @ value @ slope
    return _Mixture(weights=counts / counts.sum(), means=means, covariances=covariances)


def _held_back(means: Floats, slope: Floats) -> float:
    """Return how much of `slope` may stand for time alone to lead to the dormant group, and nowhere else.

    With one slope and one variance for all groups, log-densities at fixed frequency and monetary differ by
    straight lines in log recency, and the group with the highest mean recency *at equal frequency and
    monetary* wins in the end. The slope could make that another group than dormant.
    """
    dormant = int(means[:, 0].argmax())
    ahead = means[dormant] - np.delete(means, dormant, axis=0)
    allowed = (1 - _KEPT_GAP) * ahead[:, 0]
    loss = ahead[:, 1:] @ slope
    over = loss > allowed
    return float((allowed[over] / loss[over]).min(initial=1.0))


def _expect(rows: Floats, mixture: _Mixture) -> tuple[Floats, float]:
    """Return each component's share in each row, and the mean log-likelihood."""
    densities = _log_densities(rows, mixture)
    top = densities.max(axis=1, keepdims=True)
    shares = np.exp(densities - top)
    total = shares.sum(axis=1, keepdims=True)
    shares /= total
    return shares, float((top + np.log(total)).mean())


def _log_densities(rows: Floats, mixture: _Mixture) -> Floats:
    densities = np.empty((len(rows), GROUPS))
    for k in range(GROUPS):
        factor = np.linalg.cholesky(mixture.covariances[k])
        whitened = (rows - mixture.means[k]) @ np.linalg.inv(factor).T
        constant = np.log(mixture.weights[k]) - 1.5 * np.log(2 * np.pi) - np.log(np.diag(factor)).sum()
        densities[:, k] = constant - 0.5 * np.square(whitened).sum(axis=1)
    return densities


def _log_prior(mixture: _Mixture, pooled: Floats) -> float:
    """Return the log of the inverse-Wishart prior for a weight of one customer, but for a constant."""
    values = mixture.covariances[:, 1:, 1:]
    _, log_volumes = np.linalg.slogdet(values)
    distances = np.trace(np.linalg.solve(values, pooled[None, 1:, 1:]), axis1=1, axis2=2)
    return float(-0.5 * (log_volumes + distances).sum())


def _ordered(mixture: _Mixture, order: Labels) -> _Mixture:
    return _Mixture(
        weights=mixture.weights[order], means=mixture.means[order], covariances=mixture.covariances[order]
    )


def _flaw(mixture: _Mixture, rows: Floats) -> str:
    """Return why the groups of a mixture do not mean what their names say, or nothing."""
    labels = _log_densities(rows, mixture).argmax(axis=1)
    counts = np.bincount(labels, minlength=GROUPS)
    narrowest = np.linalg.eigvalsh(mixture.covariances)[:, 0]
    for k, name in enumerate(SEGMENTS[1:]):
        if counts[k] < _SMALLEST_SHARE * len(rows):
            return f"empty group: {counts[k]} of {len(rows)} customers are {name}"
        if narrowest[k] < _COLLAPSED:
            return f"collapsed covariance: group {name} lies on a single value of a feature"
    vip, dormant, mid, low = range(GROUPS)
    recency = mixture.means[:, 0]
    medians = [float(np.median(rows[labels == k, 0])) for k in range(GROUPS)]
    gap = recency[dormant] - np.delete(recency, dormant).max()
    if gap < _DORMANT_GAP or medians[dormant] <= max(medians[k] for k in (vip, mid, low)):
        return f"missing dormant group: no group bought clearly longer ago than the others (gap {gap:.2f} sd)"
    value = mixture.means[:, 1] + mixture.means[:, 2]
    if value[vip] <= value[dormant]:
        return "missing VIP group: the most frequent and valuable customers are those who bought longest ago"
    return ""


def _group(mixture: _Mixture, k: int, centre: Floats, spread: Floats) -> Group:
    """Return component `k` in the features' own units."""
    covariance = mixture.covariances[k] * np.outer(spread, spread)
    covariance = (covariance + covariance.T) / 2
    return Group(
        weight=float(mixture.weights[k]),
        mean=tuple((centre + spread * mixture.means[k]).tolist()),
        covariance=tuple(tuple(row) for row in covariance.tolist()),
    )


def _refuse(reason: str) -> None:
    message = f"fit refused: {reason}; the model in use stays"
    raise FitRefused(message)
