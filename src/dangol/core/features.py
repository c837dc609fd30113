"""What the model looks at: log recency, log frequency and log monetary of each customer at a moment.

| column | feature | unit inside the log |
|---|---|---|
| 0 | log(1 + recency) | days since the latest live invoice |
| 1 | log(frequency) | live invoices |
| 2 | log(max(monetary, floor)) | currency units |

- Recency near zero needs no floor: log(1 + days) is smooth there, and an hour more or less hardly counts.
  It counts whole milliseconds, so that it moves in steps far above rounding and each change has one moment.
  A purchase that lies after the as-of time has recency 0.
- Monetary can be tiny, zero or negative while an invoice is still live (unmatched cancellations). It is held
  at a floor of a hundredth of the median customer's monetary (`monetary_floor`), in whatever currency: lower
  values say nothing more about the customer, and their logarithms would pull at the groups.
- A customer with no live invoice has no features: a row of NaN.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dangol.core.schema import MICROS, NEVER, Int64, States
from dangol.core.score_kernels import feature_rows

__all__ = ["FEATURES", "Floats", "Rfm", "features", "monetary_floor"]

Floats = NDArray[np.float64]

FEATURES = ("log1p_recency_days", "log_frequency", "log_monetary")


class Rfm(NamedTuple):
    """The three facts a customer is judged by; arrays of one length, times and money as in `schema`."""

    last_purchase_at: Int64
    frequency: Int64
    monetary: Int64

    @classmethod
    def of(cls, states: States) -> Rfm:
        """View the three columns of `STATE` records, without a copy."""
        return cls(states["last_purchase_at"], states["frequency"], states["monetary"])

    def take(self, rows: Int64) -> Rfm:
        """Return the facts of the given rows."""
        return Rfm(self.last_purchase_at[rows], self.frequency[rows], self.monetary[rows])


def features(rfm: Rfm, as_of: int | Int64, *, monetary_floor: float) -> Floats:
    """Return the `[n, 3]` matrix of features at `as_of` (one moment, or one for each row)."""
    n = len(rfm.last_purchase_at)
    out = np.empty((n, 3))
    moments = np.broadcast_to(np.asarray(as_of, np.int64), n)
    feature_rows(*rfm, moments, monetary_floor, out)
    return out


def monetary_floor(rfm: Rfm) -> float:
    """Return a hundredth of the median monetary of those with a live invoice (currency units, two digits)."""
    spent = rfm.monetary[(rfm.frequency > 0) & (rfm.last_purchase_at != NEVER) & (rfm.monetary > 0)]
    if len(spent) == 0:
        return 1.0
    floor = float(np.median(spent)) / MICROS / 100
    return round(floor, 1 - math.floor(math.log10(floor)))
