"""The compiled loops behind features, score and decay, kept in one file on purpose.

What `decay` promises ("the first moment at which `score` says otherwise") holds to the last bit because
all of them call the same `_log_density` and `_recency`. Numba's disk cache looks at one source file only,
so code that must never differ must not be spread over several.

Every row is computed alone, in scalar IEEE arithmetic and without fast-math: its result cannot depend on
the rows beside it, nor on the size of the batch.

A model is passed as a `[4, 10]` matrix, one row a segment: mean (3), inverse Cholesky factor of the
covariance (6, row by row), and the constant of the log-density with the log-weight in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba import types

from dangol.core.schema import NEVER

__all__ = ["HORIZON", "STEP", "STEPS_A_DAY", "feature_rows", "next_change_rows", "score_rows"]

STEP = 1000
"""Recency counts whole steps of this many microseconds since the latest purchase."""

STEPS_A_DAY = 86_400_000_000 // STEP

HORIZON = 9_214_646_400_000_000
"""2262-01-01 UTC: changes by time later than this are not looked for."""

_FARTHEST = 12.0  # no log1p(days) within the horizon is larger
_SLACK = 64 * float(np.finfo(np.float64).eps)  # rounding of a log-density, relative to the size of its terms
_SCAN = 20_000  # steps looked at one by one around a root; wider bands only where densities all but coincide
_CLIP = 1e9

_F = TypeVar("_F", bound=Callable[..., Any])

_ints = types.Array(types.int64, 1, "A", readonly=True)
_floats = types.Array(types.float64, 2, "A", readonly=True)
_params = types.Array(types.float64, 2, "C", readonly=True)
_out8 = types.Array(types.int8, 1, "C")
_out64 = types.Array(types.int64, 1, "C")
_matrix = types.Array(types.float64, 2, "C")


def _compiled(*signature: Any) -> Callable[[_F], _F]:
    return cast("Callable[[_F], _F]", numba.njit(*signature, cache=True, nogil=True, error_model="numpy"))


@_compiled()
def _steps(last: int, as_of: int) -> int:
    return max(as_of - last, 0) // STEP


@_compiled()
def _recency(steps: int) -> float:
    return math.log1p(steps / STEPS_A_DAY)


@_compiled()
def _value(monetary: int, floor: float) -> float:
    return math.log(max(monetary / 1e6, floor))


@_compiled()
def _log_density(params: Any, k: int, r: float, f: float, m: float) -> float:
    a, b, c = r - params[k, 0], f - params[k, 1], m - params[k, 2]
    x = params[k, 3] * a
    y = params[k, 4] * a + params[k, 5] * b
    z = params[k, 6] * a + params[k, 7] * b + params[k, 8] * c
    density: float = params[k, 9] - 0.5 * (x * x + y * y + z * z)
    return density


@_compiled()
def _likeliest(params: Any, r: float, f: float, m: float) -> int:
    best, top = 0, _log_density(params, 0, r, f, m)
    for k in range(1, 4):
        density = _log_density(params, k, r, f, m)
        if density > top:
            best, top = k, density
    return best


@_compiled(types.void(_ints, _ints, _ints, _ints, types.float64, _matrix))
def feature_rows(last: Any, frequency: Any, monetary: Any, as_of: Any, floor: float, out: Any) -> None:
    """Fill `out[n, 3]` with the three features; all NaN where there is no live invoice."""
    for i in range(len(last)):
        if frequency[i] <= 0 or last[i] == NEVER:
            out[i, :] = np.nan
        else:
            out[i, 0] = _recency(_steps(last[i], as_of[i]))
            out[i, 1] = math.log(frequency[i])
            out[i, 2] = _value(monetary[i], floor)


@_compiled(types.void(_floats, _params, _out8, _matrix))
def score_rows(rows: Any, params: Any, segment: Any, p: Any) -> None:
    """Fill the segment (place in SEGMENTS) and four probabilities of each feature row."""
    for i in range(len(rows)):
        segment[i] = 0
        p[i, :] = 0.0
        r, f, m = rows[i, 0], rows[i, 1], rows[i, 2]
        if math.isnan(r) or math.isnan(f) or math.isnan(m):
            continue
        # far beyond any real feature; keeps the squares finite
        r, f, m = min(max(r, -_CLIP), _CLIP), min(max(f, -_CLIP), _CLIP), min(max(m, -_CLIP), _CLIP)
        best = _likeliest(params, r, f, m)
        top = _log_density(params, best, r, f, m)
        total = 0.0
        for k in range(4):
            p[i, k] = math.exp(_log_density(params, k, r, f, m) - top)
            total += p[i, k]
        for k in range(4):
            p[i, k] /= total
        segment[i] = best + 1


@_compiled()
def _quadratic(params: Any, k: int, f: float, m: float) -> tuple[float, float, float, float]:
    """Return (a, b, c, size): log-density k is a r^2 + b r + c, its terms no larger than size."""
    u, f, m = params[k, 0], f - params[k, 1], m - params[k, 2]
    w0, w1, w2 = params[k, 3], params[k, 4], params[k, 6]
    g0 = -w0 * u
    g1 = params[k, 5] * f - w1 * u
    g2 = params[k, 7] * f + params[k, 8] * m - w2 * u
    reach = _FARTHEST + abs(u)
    s0 = abs(w0) * reach
    s1 = abs(w1) * reach + abs(params[k, 5] * f)
    s2 = abs(w2) * reach + abs(params[k, 7] * f) + abs(params[k, 8] * m)
    return (
        -0.5 * (w0 * w0 + w1 * w1 + w2 * w2),
        -(w0 * g0 + w1 * g1 + w2 * g2),
        params[k, 9] - 0.5 * (g0 * g0 + g1 * g1 + g2 * g2),
        abs(params[k, 9]) + 0.5 * (s0 * s0 + s1 * s1 + s2 * s2),
    )


@_compiled()
def _add_band(bands: Any, count: int, root: float, width: float, first: int, last: int) -> int:
    """Put the steps within `width` of `root` among `bands`, in order of their start; return the new count."""
    low = math.expm1(root - width) * STEPS_A_DAY
    high = math.expm1(root + width) * STEPS_A_DAY
    if not (high + 3 >= first and low - 2 <= last):  # NaN too
        return count
    start = max(math.floor(max(low, 0.0)) - 2, first)
    stop = min(math.ceil(min(high, 1e18)) + 2, last)
    place = count
    while place > 0 and bands[place - 1, 0] > start:
        bands[place, 0], bands[place, 1] = bands[place - 1, 0], bands[place - 1, 1]
        place -= 1
    bands[place, 0], bands[place, 1] = start, stop
    return count + 1


@_compiled()
def _crossings(params: Any, now: int, point: tuple[float, float], span: tuple[int, int], bands: Any) -> int:
    """Fill `bands` with the steps at which component `now` may meet another; return how many there are.

    A band is as wide as rounding may move the crossing: outside of it the sign of the difference is sure.
    """
    count = 0
    a0, b0, c0, size0 = _quadratic(params, now, point[0], point[1])
    for k in range(4):
        if k == now:
            continue
        a, b, c, size = _quadratic(params, k, point[0], point[1])
        a, b, c = a0 - a, b0 - b, c0 - c
        error = _SLACK * (size0 + size)
        slope2 = b * b - 4.0 * a * c  # the squared slope of the difference at its roots
        if slope2 < 0.0:
            if slope2 >= -4.0 * abs(a) * error:  # comes so near that rounding may make it touch
                count = _add_band(
                    bands, count, -0.5 * b / a, 2.0 * math.sqrt(error / abs(a)), span[0], span[1]
                )
            continue
        slope = math.sqrt(slope2)
        q = -0.5 * (b + math.copysign(slope, b))
        width = 4.0 * error / (slope + math.sqrt(abs(a) * error))
        count = _add_band(bands, count, q / a, width, span[0], span[1])
        count = _add_band(bands, count, c / q, width, span[0], span[1])
    return count


@_compiled()
def _search(params: Any, now: int, point: tuple[float, float], start: int, stop: int) -> int:
    """Return the first step in start..stop at which the likeliest is not `now`, or -1."""
    f, m = point
    for step in range(start, min(stop, start + _SCAN) + 1):
        if _likeliest(params, _recency(step), f, m) != now:
            return step
    if stop <= start + _SCAN or _likeliest(params, _recency(stop), f, m) == now:
        return -1
    low, high = start + _SCAN, stop
    while high - low > 1:
        middle = (low + high) // 2
        if _likeliest(params, _recency(middle), f, m) == now:
            low = middle
        else:
            high = middle
    return high


@_compiled()
def _first_change(
    params: Any, now: int, point: tuple[float, float], span: tuple[int, int], bands: Any
) -> int:
    """Return the first step within `span` at which the likeliest is not `now`, or -1."""
    count = _crossings(params, now, point, span, bands)
    start = span[0]
    for i in range(count):
        start = max(start, bands[i, 0])
        found = _search(params, now, point, start, bands[i, 1])
        if found >= 0:
            return found
        start = max(start, bands[i, 1] + 1)
    return -1


@_compiled(types.void(_ints, _ints, _ints, _ints, types.float64, _params, _out8, _out64, _out8))
def next_change_rows(
    last: Any,
    frequency: Any,
    monetary: Any,
    as_of: Any,
    floor: float,
    params: Any,
    now: Any,
    at: Any,
    then: Any,
) -> None:
    """Fill the segment now, the moment of the next change by time alone (or NEVER), and the segment then."""
    bands = np.empty((6, 2), np.int64)
    for i in range(len(last)):
        now[i], at[i], then[i] = 0, NEVER, 0
        if frequency[i] <= 0 or last[i] == NEVER:
            continue
        steps = _steps(last[i], as_of[i])
        point = (math.log(frequency[i]), _value(monetary[i], floor))
        best = _likeliest(params, _recency(steps), point[0], point[1])
        now[i] = best + 1
        if last[i] >= HORIZON or as_of[i] >= HORIZON:
            continue
        step = _first_change(params, best, point, (steps + 1, (HORIZON - last[i]) // STEP), bands)
        if step >= 0:
            at[i] = last[i] + step * STEP
            then[i] = _likeliest(params, _recency(step), point[0], point[1]) + 1
