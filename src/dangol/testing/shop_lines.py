"""Makes the lines of the generated shop: any line, at any time, from its number alone.

A line is a pure function of seed and number (hashes, no running generator), so a cancellation finds the
lines of its purchase again without anyone having kept them, and batches of any size hold the same lines.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dangol.adapters.tables import numbered
from dangol.core.schema import MICROS, Int64
from dangol.testing.shop_goods import COUNTRIES, THEMES, Goods
from dangol.testing.shop_plan import GROUPS, PURCHASE, WHOLE, Plan

__all__ = ["FAULT_KINDS", "LineMaker", "hashed", "shares"]

Hashes = NDArray[np.uint64]

FAULT_KINDS = (
    "",
    "price_zero",
    "price_negative",
    "quantity_zero",
    "quantity_sign",
    "no_invoice",
    "no_product",
    "quantity_text",
    "price_text",
    "date_text",
)
"""What can be wrong with a malformed line; the last three are null in typed columns."""

_UNITS = np.array([1, 1, 1, 1, 2, 2, 2, 3, 4, 4, 6, 6, 8, 12, 12, 24])
_FIRST_INVOICE = 536_365
_FIRST_CUSTOMER = 100_000
_COUNTRIES = pa.array(COUNTRIES)
_BULK = np.array([group.units for group in GROUPS])
_FESTIVE = list(THEMES).index("christmas")


def hashed(values: Hashes, salt: int) -> Hashes:
    """Return 64 well-mixed bits for each value (the finaliser of splitmix64, Steele and others 2014)."""
    mixed = values * np.uint64(0x9E3779B97F4A7C15) + np.uint64((salt * 0xD1342543DE82EF95) % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


@dataclass(frozen=True, slots=True, kw_only=True)
class LineMaker:
    """Makes lines by their numbers, which run from 0 in the order of time."""

    plan: Plan
    goods: Goods
    seed: int
    start: np.datetime64
    malformed: float

    def batch(self, numbers: Int64) -> tuple[pa.RecordBatch, NDArray[np.uint8]]:
        """Return the lines with these numbers, and for each its place in `FAULT_KINDS`."""
        plan = self.plan
        invoice = np.searchsorted(plan.ends, numbers, side="right")
        kind, customer = plan.kind[invoice], plan.customer[invoice]
        place = numbers - plan.ends[invoice - 1] * (invoice > 0) + plan.first[invoice]
        key = plan.key[invoice].astype(np.uint64)
        bits = hashed((key << np.uint64(32)) | place.astype(np.uint64), self.seed * 4 + 1)
        moment = self.start.astype("M8[s]").astype(np.int64) + plan.seconds[invoice]
        product = self._products(bits, np.where(customer < 0, key, customer.astype(np.uint64)), moment)
        units, pence = self._amounts(bits, customer, product, kind)
        wrong = self._wrong(numbers)
        units, pence = _spoiled(units, pence, wrong)
        columns = {
            "EventId": numbered(f"shop-{self.seed}-", numbers),
            "InvoiceNo": _invoices(invoice, kind, wrong == _code("no_invoice")),
            "StockCode": self.goods.codes.take(pa.array(product, mask=_mask(wrong == _code("no_product")))),
            "Description": self.goods.names.take(pa.array(product)),
            "Quantity": pa.array(units, mask=_mask(wrong == _code("quantity_text"))),
            "InvoiceDate": pa.array(
                moment * MICROS, pa.timestamp("us"), mask=_mask(wrong == _code("date_text"))
            ),
            "UnitPrice": pa.array(pence / 100, mask=_mask(wrong == _code("price_text"))),
            "CustomerID": pa.array(customer + _FIRST_CUSTOMER, mask=_mask(customer < 0)).cast(pa.string()),
            "Country": _COUNTRIES.take(pa.array(np.where(customer < 0, 0, plan.country[customer]))),
        }
        return pa.RecordBatch.from_pydict(columns), wrong

    def _products(self, bits: Hashes, taste: Hashes, moment: Int64) -> Int64:
        """Choose a product for each line: mostly of the buyer's two themes, of Christmas in late autumn."""
        themes = np.uint64(len(THEMES))
        liked = hashed(taste, self.seed * 4 + 3) >> np.where(bits & np.uint64(1), 0, 32).astype(np.uint64)
        theme = liked % themes
        theme = np.where(bits >> np.uint64(1) & np.uint64(7) < 3, (bits >> np.uint64(8)) % themes, theme)
        festive = _is_festive(moment) & (bits >> np.uint64(4) & np.uint64(7) < 2)
        theme = np.where(festive, _FESTIVE, theme)
        rank = (bits >> np.uint64(40)).astype(np.float64) * 2.0**-24
        return (theme.astype(np.int64) * self.goods.per_theme) + (rank**2 * self.goods.per_theme).astype(
            np.int64
        )

    def _amounts(
        self, bits: Hashes, customer: NDArray[np.int32], product: Int64, kind: NDArray[np.uint8]
    ) -> tuple[Int64, Int64]:
        """Return quantity and price in pence: bulk buyers take more for less, cancellations give back."""
        bulk = _BULK[self.plan.group[customer]]
        bulk[customer < 0] = 1
        units = _UNITS[(bits >> np.uint64(20) & np.uint64(15)).astype(np.int64)] * bulk
        pence = self.goods.pence[product]
        pence = np.where(bulk > 1, np.maximum(pence * 4 // 5, 1), pence)
        share = (bits >> np.uint64(24) & np.uint64(15)).astype(np.int64)
        some = np.where((share < 8) | (kind == WHOLE), units, 1 + units * share // 16)
        return np.where(kind == PURCHASE, units, -np.minimum(some, units)), pence

    def _wrong(self, numbers: Int64) -> NDArray[np.uint8]:
        bits = hashed(numbers.astype(np.uint64), self.seed * 4 + 2)
        wrong = 1 + (bits & np.uint64(0xFFFF)) % np.uint64(len(FAULT_KINDS) - 1)
        return np.where(shares(bits) < self.malformed, wrong, 0).astype(np.uint8)


def shares(bits: Hashes) -> NDArray[np.float64]:
    """Return the upper bits as numbers from 0 to 1."""
    return (bits >> np.uint64(16)).astype(np.float64) * 2.0**-48


def _code(name: str) -> int:
    return FAULT_KINDS.index(name)


def _spoiled(units: Int64, pence: Int64, wrong: NDArray[np.uint8]) -> tuple[Int64, Int64]:
    pence = np.where(
        wrong == _code("price_zero"), 0, np.where(wrong == _code("price_negative"), -pence, pence)
    )
    units = np.where(wrong == _code("quantity_zero"), 0, units)
    return np.where(wrong == _code("quantity_sign"), -units, units), pence


def _is_festive(moment: Int64) -> NDArray[np.bool_]:
    """Say which moments lie in October, November or December (by the Gregorian calendar, in months)."""
    return moment.astype("M8[s]").astype("M8[M]").astype(np.int64) % 12 >= 9


def _invoices(invoice: Int64, kind: NDArray[np.uint8], missing: NDArray[np.bool_]) -> pa.Array:
    texts = pa.array(invoice + _FIRST_INVOICE, mask=_mask(missing)).cast(pa.string())
    if not kind.any():
        return texts
    return pc.binary_join_element_wise(
        pa.array(["", "C"]).take(pa.array(kind != PURCHASE).cast("int8")), texts, ""
    )


def _mask(missing: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    return missing if missing.any() else None
