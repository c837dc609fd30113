"""Purchase lines in the wire format, for bodies of requests."""

from __future__ import annotations

import json
from typing import Any


def line(number: int, **changed: Any) -> dict[str, Any]:
    """One good purchase line; `changed` replaces fields."""
    return {
        "EventId": f"test-{number:09d}",
        "InvoiceNo": str(536000 + number),
        "StockCode": "85123A",
        "Description": "WHITE HANGING HEART T-LIGHT HOLDER",
        "Quantity": 6,
        "InvoiceDate": "2010-12-01T08:26:00",
        "UnitPrice": 2.55,
        "CustomerID": str(12000 + number % 100),
        "Country": "United Kingdom",
    } | changed


def ndjson(*lines: dict[str, Any]) -> bytes:
    """The lines as a body."""
    return b"".join(json.dumps(one).encode() + b"\n" for one in lines)
