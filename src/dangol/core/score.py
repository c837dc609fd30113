"""Judges customers: features and a model give a segment and four probabilities.

The segment is the component with the highest weighted density; probabilities are the components' shares
(`P_COLUMNS` names their order). Rows are judged one by one: the same row gives the same bits in any batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dangol.core.features import Floats, Rfm, features
from dangol.core.model_card import Model
from dangol.core.schema import SEGMENTS, Int64
from dangol.core.score_kernels import score_rows

__all__ = ["P_COLUMNS", "Scores", "score", "score_rfm"]

P_COLUMNS = tuple(f"p_{name}" for name in SEGMENTS[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The verdicts on `n` customers.

    `segment` is the place in `SEGMENTS`; `p` has the columns of `P_COLUMNS`, each row adding up to 1.
    A customer with no live invoice has segment 0 ("none") and four zeros.
    """

    segment: NDArray[np.int8]
    p: Floats


def score(rows: Floats, model: Model) -> Scores:
    """Judge feature rows (`[n, 3]`, as `features` gives them with the model's own monetary floor)."""
    n = len(rows)
    segment, p = np.empty(n, np.int8), np.empty((n, 4))
    score_rows(rows, model.params, segment, p)
    return Scores(segment=segment, p=p)


def score_rfm(rfm: Rfm, as_of: int | Int64, model: Model) -> Scores:
    """Judge customers by their recency, frequency and monetary at `as_of`."""
    return score(features(rfm, as_of, monetary_floor=model.monetary_floor), model)
