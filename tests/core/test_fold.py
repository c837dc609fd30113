"""Folding in any order and any split gives what the definitions give when read aloud."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from dangol.core.fold import Facts, InvoiceSums, empty_states, fold
from dangol.core.matching import PairLines
from dangol.core.schema import NEVER

COUNTRIES = ("France", "Korea", "Austria")


@dataclass(frozen=True)
class Line:
    event: int
    slot: int
    product: int
    invoice: int
    at: int
    quantity: int
    price: int
    country: int


class PlainHistory:
    """Everything in lists, searched from front to back."""

    def __init__(self) -> None:
        self.lines: list[PairLines] = []
        self.sums: list[InvoiceSums] = []

    def pairs(self, keys):
        everything = _joined(PairLines, self.lines)
        return everything.take(np.isin(everything.pair, keys))

    def _sums(self, member):
        everything = _joined(InvoiceSums, self.sums)
        own = member(everything)
        return InvoiceSums(**{f.name: getattr(everything, f.name)[own] for f in fields(InvoiceSums)})

    def invoices(self, slots, invoices):
        return self._sums(lambda all_: np.isin(all_.invoice, invoices))

    def invoices_of(self, slots):
        return self._sums(lambda all_: np.isin(all_.slot, slots))

    def event_ids(self, pointers):
        return pa.array([f"e{pointer}" for pointer in pointers], pa.string())


def _joined(kind, parts):
    unsigned = ("pair", "invoice")
    return kind(
        **{
            f.name: np.concatenate(
                [
                    np.empty(0, np.uint64 if f.name in unsigned else np.int64),
                    *(getattr(p, f.name) for p in parts),
                ]
            )
            for f in fields(kind)
        }
    )


def facts_of(lines: list[Line]) -> Facts:
    column = {f.name: np.array([getattr(line, f.name) for line in lines], np.int64) for f in fields(Line)}
    return Facts(
        slot=column["slot"],
        product=column["product"],
        invoice=(column["slot"] * 1000 + column["invoice"]).astype(np.uint64),
        at=column["at"],
        quantity=column["quantity"],
        unit_price=column["price"],
        country=column["country"],
        pointer=column["event"],
        event_id=pa.array([f"e{line.event}" for line in lines], pa.string()),
        row=np.arange(len(lines)),
    )


def fold_batches(batches: list[list[Line]]):
    states, history = empty_states(4), PlainHistory()
    for batch in batches:
        facts = facts_of(batch)
        slots = np.unique(facts.slot)
        result = fold(slots, states[slots], facts, history, countries=COUNTRIES)
        states[slots] = result.after
        history.lines.append(result.lines)
        history.sums.append(result.invoices)
    return states


def by_the_book(lines: list[Line]) -> dict[int, tuple]:
    """The definitions of the glossary, one line of Python for each sentence."""
    result = {}
    for slot in {line.slot for line in lines}:
        own = sorted((line for line in lines if line.slot == slot), key=lambda x: (x.at, f"e{x.event}"))
        left = {line.event: line.quantity for line in own if line.quantity > 0}
        kinds: dict[str, int] = defaultdict(int)
        for place, cancel in enumerate(own):
            if cancel.quantity > 0:
                continue
            wanted = -cancel.quantity
            for purchase in reversed(own[:place]):
                if purchase.quantity > 0 and purchase.product == cancel.product:
                    taken = min(wanted, left[purchase.event])
                    left[purchase.event] -= taken
                    wanted -= taken
            kinds["full" if wanted == 0 else "none" if wanted == -cancel.quantity else "part"] += 1
        live = {line.invoice for line in own if left.get(line.event, 0) > 0}
        times = [line.at for line in own if line.quantity > 0 and line.invoice in live]
        last = max(line.at for line in own)
        countries = [line.country for line in own if line.at == last]
        result[slot] = (
            len(own),
            sum(line.quantity * line.price for line in own),
            len(live),
            max(times, default=NEVER),
            own[0].at,
            last,
            max((line.at for line in own if line.quantity < 0), default=NEVER),
            kinds["full"],
            kinds["part"],
            kinds["none"],
            max(countries, key=lambda c: COUNTRIES[c] if c >= 0 else ""),
        )
    return result


def as_read(states) -> dict[int, tuple]:
    names = states.dtype.names[:11]
    order = [
        "lines",
        "monetary",
        "frequency",
        "last_purchase_at",
        "first_line_at",
        "last_line_at",
        "last_cancel_at",
        "cancels_matched",
        "cancels_partly",
        "cancels_unmatched",
        "country",
    ]
    assert set(order) == set(names)
    return {slot: tuple(int(row[name]) for name in order) for slot, row in enumerate(states) if row["lines"]}


@st.composite
def shops(draw) -> list[Line]:
    raw = draw(
        st.lists(
            st.tuples(
                st.integers(0, 2),  # slot
                st.integers(0, 1),  # product
                st.integers(0, 3),  # invoice
                st.integers(0, 5),  # time: many ties
                st.integers(-4, 4).filter(bool),
                st.integers(1, 3),
                st.integers(-1, 2),
            ),
            max_size=30,
        )
    )
    events = draw(st.permutations(range(len(raw))))
    # a cancellation has an invoice of its own kind, as C-invoices have
    return [
        Line(event, slot, product, invoice + (10 if quantity < 0 else 0), at, quantity, price, country)
        for event, (slot, product, invoice, at, quantity, price, country) in zip(events, raw, strict=True)
    ]


@given(shops(), st.data())
@settings(max_examples=400, deadline=None)
def test_any_order_and_any_split_equal_the_definitions(lines: list[Line], data) -> None:
    shuffled = data.draw(st.permutations(lines))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(lines)), max_size=6)))
    batches = [shuffled[a:b] for a, b in zip([0, *cuts], [*cuts, len(lines)], strict=True)]
    assert as_read(fold_batches(batches)) == by_the_book(lines)


def test_a_whole_order_cancelled_minutes_later_leaves_no_frequency_and_no_money() -> None:
    states = fold_batches(
        [[Line(1, 0, 0, 1, 10, 74215, 1_040_000, 0)], [Line(2, 0, 0, 11, 16, -74215, 1_040_000, 0)]]
    )
    assert (states[0]["frequency"], states[0]["monetary"], states[0]["last_purchase_at"]) == (0, 0, NEVER)


def test_a_late_purchase_takes_over_an_unmatched_cancellation() -> None:
    cancel, late = Line(1, 0, 0, 11, 5, -3, 1, 0), Line(2, 0, 0, 1, 4, 3, 1, 0)
    assert fold_batches([[cancel]])[0]["cancels_unmatched"] == 1
    states = fold_batches([[cancel], [late]])
    assert (states[0]["cancels_matched"], states[0]["cancels_unmatched"], states[0]["frequency"]) == (1, 0, 0)
