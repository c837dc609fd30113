"""The contract of the cleanse file: which outputs it has, with which columns, and what becomes of each line.

A line leaves through exactly one output. Whatever rules a user writes, no line is lost (one that no output
takes is rejected as `not_matched_by_rules`), none is doubled (of two outputs the first of rejected,
anonymous, accepted wins) and none enters the engine that would break its sums (`BROKEN`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dangol.core.schema import FAULTS, LINES, MICROS, Cleansed, Int64, LineBlock, Rejects

__all__ = [
    "ACCEPTED",
    "ANONYMOUS",
    "BROKEN",
    "COLUMNS",
    "FAULTY",
    "LIMIT",
    "NOT_MATCHED",
    "OPTIONAL",
    "OUTPUTS",
    "REJECTED",
    "UNMATCHED",
    "Verdicts",
    "build_cleansed",
]

ACCEPTED, ANONYMOUS, REJECTED, UNMATCHED, FAULTY = 0, 1, 2, 3, 4
"""How a line was judged; at the end: no output took it, and it could not be parsed at all."""

OUTPUTS = ("accepted", "anonymous", "rejected")
COLUMNS = {
    "event_id": "text",
    "invoice": "text",
    "product": "text",
    "description": "text",
    "quantity": "bigint",
    "unit_price": "float",
    "customer": "text",
    "country": "text",
    "at": "datetime",
}
"""The columns of the outputs accepted and anonymous (which has no customer), with their types."""

OPTIONAL = frozenset({"event_id", "description", "country"})
NOT_MATCHED = "not_matched_by_rules"
BROKEN = "broken_by_rules"
"""The reason of a line that the rules let through without a value that the engine cannot do without."""

LIMIT = 1_000_000_000
"""The most units on a line, and the most currency units a piece and a line: sums of money stay exact."""

_LATEST = 253_402_300_799_999_999  # 9999-12-31T23:59:59.999999Z


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """What the rules made of the lines of a block.

    `verdict` has one number a line, from ACCEPTED to FAULTY; `columns` the output columns of all lines,
    typed as `COLUMNS` says (price in currency units, time in microseconds); `reason` and `field` one text
    for each rejected line, in order; `input_names` the input field behind each output column.
    """

    verdict: NDArray[np.int8]
    columns: Mapping[str, pa.Array]
    reason: list[str | None]
    field: list[str | None]
    input_names: Mapping[str, str]


def build_cleansed(block: LineBlock, rows: Int64, verdicts: Verdicts) -> Cleansed:
    """Put the verdicts on the lines of `block`, whose places are `rows`, and the faults together."""
    taken = verdicts.verdict <= ANONYMOUS
    anonymous = verdicts.verdict == ANONYMOUS
    columns = dict(verdicts.columns)
    columns["customer"] = _without(columns["customer"], anonymous)
    broken = _broken(columns, taken, anonymous)
    kept = taken & ~np.logical_or.reduce(list(broken.values())) if broken else taken
    whole = bool(kept.all())
    price = _numbers(columns["unit_price"])
    micros = np.rint((price if whole else np.where(kept, price, 0)) * MICROS)
    columns["unit_price"] = pa.array(micros.astype(np.int64))
    lines = pa.RecordBatch.from_arrays([pa.array(rows), *(columns[name] for name in COLUMNS)], schema=LINES)
    found = _Found()
    found.add_faults(block)
    found.add_rejected(verdicts)
    found.add_broken(broken, verdicts.input_names)
    return Cleansed(lines=lines if whole else lines.filter(pa.array(kept)), rejects=found.rejects())


def _without(customer: pa.Array, anonymous: NDArray[np.bool_]) -> pa.Array:
    """Make the customer of anonymous lines null (it may have been blank)."""
    if customer.null_count == len(customer) or not anonymous.any():
        return customer
    return pc.if_else(pa.array(anonymous), pa.scalar(None, pa.string()), customer)


def _numbers(column: pa.Array) -> NDArray[np.float64]:
    filled = column.fill_null(0) if column.null_count else column
    numbers: NDArray[np.float64] = filled.to_numpy(zero_copy_only=False).astype(np.float64, copy=False)
    return numbers


def _broken(
    columns: Mapping[str, pa.Array], taken: NDArray[np.bool_], anonymous: NDArray[np.bool_]
) -> dict[str, NDArray[np.bool_]]:
    """Find the taken lines that break the engine's own bounds, by column; empty in the usual case."""
    quantity, price, at = (_numbers(columns[name]) for name in ("quantity", "unit_price", "at"))
    size = np.abs(quantity)
    with np.errstate(invalid="ignore", over="ignore"):
        checks = {
            "quantity": (size > LIMIT) | (size == 0),
            "unit_price": ~((price > 0.5 / MICROS) & (price < LIMIT)) | (size * np.abs(price) > LIMIT),
            "at": (at < 0) | (at > _LATEST),
        }
    for name in ("invoice", "product", "customer", "quantity", "unit_price", "at"):
        if columns[name].null_count:
            missing = columns[name].is_null().to_numpy(zero_copy_only=False)
            missing = missing & ~anonymous if name == "customer" else missing
            checks[name] = checks[name] | missing if name in checks else missing
    found = {name: mask & taken for name, mask in checks.items()}
    return {name: mask for name, mask in found.items() if mask.any()}


class _Found:
    """Gathers rejects from all sides and gives them back in the order of the block."""

    def __init__(self) -> None:
        self.row: list[int] = []
        self.reason: list[str] = []
        self.field: list[str] = []

    def add_faults(self, block: LineBlock) -> None:
        for row in np.flatnonzero(block.fault).tolist():
            self._add(row, FAULTS[block.fault[row]], block.fault_field.get(row, ""))

    def add_rejected(self, verdicts: Verdicts) -> None:
        rejected = np.flatnonzero(verdicts.verdict == REJECTED).tolist()
        for row, reason, field in zip(rejected, verdicts.reason, verdicts.field, strict=True):
            self._add(row, reason or NOT_MATCHED, verdicts.input_names.get(field or "", field or ""))
        for row in np.flatnonzero(verdicts.verdict == UNMATCHED).tolist():
            self._add(row, NOT_MATCHED, "")

    def add_broken(self, broken: Mapping[str, NDArray[np.bool_]], names: Mapping[str, str]) -> None:
        told: set[int] = set()
        for column, mask in broken.items():
            for row in np.flatnonzero(mask).tolist():
                if row not in told:
                    self._add(row, BROKEN, names.get(column, column))
                    told.add(row)

    def _add(self, row: int, reason: str, field: str) -> None:
        self.row.append(row)
        self.reason.append(reason)
        self.field.append(field)

    def rejects(self) -> Rejects:
        order = np.argsort(np.array(self.row, np.int64), kind="stable")
        return Rejects(
            row=np.array(self.row, np.int64)[order],
            reason=[self.reason[place] for place in order],
            field=[self.field[place] for place in order],
        )
