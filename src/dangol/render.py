"""How times, numbers and segments are written for people and in JSON."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from dangol.core.schema import NEVER, SEGMENTS
from dangol.errors import UsageError

__all__ = ["EXPORT", "SEGMENT_NAMES", "iso", "micros", "rounded", "segment_place"]

SEGMENT_NAMES = {
    "none": ("없음", "None"),
    "vip": ("우수 VIP", "VIP"),
    "dormant": ("휴면 이탈", "Dormant"),
    "mid": ("중고가치 일반", "Mid-high value"),
    "low": ("저가치 일반", "Low value"),
}
"""Korean and English names of the segments."""

EXPORT = pa.schema(
    [
        ("customer", pa.string()),
        ("recency_days", pa.float64()),
        ("frequency", pa.int64()),
        ("monetary", pa.float64()),  # currency units
        ("last_purchase_at", pa.timestamp("us", tz="UTC")),
        ("segment", pa.string()),
        ("p_vip", pa.float64()),
        ("p_dormant", pa.float64()),
        ("p_mid", pa.float64()),
        ("p_low", pa.float64()),
        ("next_change_at", pa.timestamp("us", tz="UTC")),
        ("next_segment", pa.string()),
        ("country", pa.string()),
    ]
)
"""The columns of `dangol export customers`."""


def iso(moment: int | datetime | None) -> str | None:
    """Write a moment as ISO 8601 with Z and no needless fraction; None for NEVER."""
    if isinstance(moment, datetime):
        moment = int(np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us").astype(np.int64))
    if moment is None or moment == NEVER:
        return None
    text = str(np.datetime_as_string(np.datetime64(moment, "us")))
    return text.removesuffix(".000000") + "Z"


def micros(text: str) -> int:
    """Read ISO 8601 as microseconds UTC; a time without a zone is UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as cause:
        message = f"{text!r} is not a time: write it like 2011-12-09T12:50:00Z"
        raise UsageError(message) from cause
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return int(np.datetime64(moment.replace(tzinfo=None), "us").astype(np.int64))


def rounded(value: float, digits: int = 4) -> float:
    """Round for display in JSON."""
    return round(value, digits)


def segment_place(name: str) -> int:
    """Return the place of a segment in SEGMENTS; raises UsageError."""
    if name not in SEGMENTS:
        message = f"there is no segment {name!r}: the segments are {', '.join(SEGMENTS)}"
        raise UsageError(message)
    return SEGMENTS.index(name)
