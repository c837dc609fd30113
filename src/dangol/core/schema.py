"""The columns that pass from step to step, with their types and units.

Everything is columnar: a batch of `n` lines is a set of arrays of length `n`; one line is a batch of one.

- times are int64 microseconds since 1970-01-01 UTC; `NEVER` stands for "no such moment"
- money is an int64 count of millionths of a currency unit (`MICROS` of them make one unit)
- texts are Arrow string arrays
- customers are numbered by *slot*: 0, 1, 2 … in the order in which they were first seen
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = [
    "ANONYMOUS",
    "FAULTS",
    "LINES",
    "MICROS",
    "NEVER",
    "SEGMENTS",
    "STATE",
    "WIRE_FIELDS",
    "Cleansed",
    "Int64",
    "LineBlock",
    "RawText",
    "Rejects",
    "States",
]

Int64 = NDArray[np.int64]
States = NDArray[np.void]
"""A structured array of `STATE` records, one a customer."""

MICROS = 1_000_000
NEVER = np.iinfo(np.int64).min
ANONYMOUS = -1
"""The slot of a line that has no customer."""

SEGMENTS = ("none", "vip", "dormant", "mid", "low")
"""Segment names; a segment is stored as its place in this tuple."""

STATE = np.dtype(
    [
        ("lines", "<i8"),  # accepted lines folded in
        ("monetary", "<i8"),  # money
        ("frequency", "<i8"),  # live invoices
        ("last_purchase_at", "<i8"),  # time of the latest live invoice, or NEVER
        ("first_line_at", "<i8"),
        ("last_line_at", "<i8"),
        ("last_cancel_at", "<i8"),  # time of the latest cancellation, or NEVER
        ("cancels_matched", "<i4"),  # cancellation lines whose whole quantity found a purchase
        ("cancels_partly", "<i4"),
        ("cancels_unmatched", "<i4"),
        ("country", "<i4"),  # number in the country table, of the line at last_line_at; -1 unknown
        ("next_change_at", "<i8"),  # or NEVER
        ("segment_since", "<i8"),  # or NEVER while no segment was ever given
        ("last_change", "<i8"),  # sequence number of the latest change, 0 while there is none
        ("model", "<i4"),  # version of the model that gave the segment
        ("segment", "i1"),  # place in SEGMENTS
        ("next_segment", "i1"),  # place in SEGMENTS, 0 with next_change_at NEVER
        ("alive", "i1"),  # 0 after an erase
        ("reserved", "i1"),
    ]
)

LINES = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),  # place in the LineBlock
        pa.field("event_id", pa.string()),  # null: the line brought none
        pa.field("invoice", pa.string(), nullable=False),
        pa.field("product", pa.string(), nullable=False),
        pa.field("description", pa.string()),
        pa.field("quantity", pa.int64(), nullable=False),
        pa.field("unit_price", pa.int64(), nullable=False),  # money
        pa.field("customer", pa.string()),  # null: anonymous
        pa.field("country", pa.string()),
        pa.field("at", pa.int64(), nullable=False),  # microseconds UTC
    ]
)
"""Accepted and anonymous lines, as the cleanse step gives them."""

WIRE_FIELDS = (
    "EventId",
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
)
"""The names of the wire format, in its order; a file with other names is sent with those its rule file reads."""

FAULTS = (
    "",
    "not_json",
    "not_an_object",
    "not_utf8",
    "line_too_long",
    "nested_value",
    "too_deep",
    "wrong_number_of_columns",
)
"""Why a line could not even be parsed; a fault is stored as its place in this tuple (0: none)."""


class RawText(Protocol):
    """The original bytes of the lines of a block, looked up only for the few that are rejected."""

    def text(self, row: int) -> bytes:
        """Return the bytes of line `row` exactly as they came (files of typed columns: as JSON)."""
        ...

    def texts(self, rows: Sequence[int]) -> list[bytes]:
        """Return the bytes of several lines."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LineBlock:
    """`n` lines as they came: the fields the rules read, and which lines could not be parsed.

    `fields` has `n` rows and one column per field named by the rule file. Text sources give string
    columns, with numbers as they were written (a JSON number with nothing but zeros behind its point
    loses them: 6.0 is "6", as Stream Analytics would print it); typed sources give their own types.
    A missing or null field is null. A line with a fault is all null.
    """

    fields: pa.RecordBatch
    fault: NDArray[np.uint8]
    fault_field: dict[int, str] = field(default_factory=dict)
    """For a line whose fault lies in one field (nested_value): row -> field name."""
    raw: RawText

    def __len__(self) -> int:
        return len(self.fault)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejects:
    """Lines that were not accepted: place in the block, reason, and the field at fault ("" if none)."""

    row: Int64
    reason: Sequence[str]
    field: Sequence[str]

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleansed:
    """What the cleanse step makes of a block; each line of the block is in exactly one of the two.

    `lines` has the columns of `LINES`, in the order of the block; anonymous lines have a null customer.
    """

    lines: pa.RecordBatch
    rejects: Rejects
