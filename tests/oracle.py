"""Purchase lines in plain Python, what the definitions make of them, and what an engine made of them."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dangol.adapters.local_read import connect_reader, read_states
from dangol.config import Settings
from dangol.core.schema import NEVER
from dangol.engine import Engine, open_engine
from dangol.receipt import Receipt

FIELDS = (
    "lines", "monetary", "frequency", "last_purchase_at", "first_line_at", "last_line_at", "last_cancel_at",
    "cancels_matched", "cancels_partly", "cancels_unmatched", "country",
)  # fmt: skip
EPOCH = 1_291_190_400_000_000  # 2010-12-01 08:00


@dataclass(frozen=True)
class Line:
    """A line with a customer, or an anonymous one."""

    event: str
    customer: str | None
    product: str
    invoice: str
    at: int
    quantity: int
    price: int
    country: str | None = None

    def as_json(self) -> bytes:
        moment = str(np.datetime64(self.at, "us"))
        fields = {
            "EventId": self.event, "InvoiceNo": self.invoice, "StockCode": self.product, "Quantity": self.quantity,
            "InvoiceDate": moment, "UnitPrice": self.price / 1_000_000, "CustomerID": self.customer,
            "Country": self.country, "Description": f"what {self.product} is",
        }  # fmt: skip
        return json.dumps(fields, ensure_ascii=False).encode()


def by_the_book(lines: Iterable[Line]) -> dict[str, tuple[Any, ...]]:
    """The definitions, customer by customer: a stack for each product, newest purchase on top."""
    of_customer: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        if line.customer is not None:
            of_customer[line.customer].append(line)
    return {customer: _state(own) for customer, own in of_customer.items()}


def _state(own: list[Line]) -> tuple[Any, ...]:
    own.sort(key=lambda line: (line.at, line.event))
    stacks: dict[str, list[list[Any]]] = defaultdict(list)
    purchases: list[list[Any]] = []
    kinds = {"matched": 0, "partly": 0, "unmatched": 0}
    for line in own:
        if line.quantity > 0:
            purchases.append([line.quantity, line.invoice, line.at])
            stacks[line.product].append(purchases[-1])
            continue
        wanted, stack = -line.quantity, stacks[line.product]
        while wanted and stack:
            taken = min(wanted, stack[-1][0])
            wanted -= taken
            stack[-1][0] -= taken
            if not stack[-1][0]:
                stack.pop()
        kinds["matched" if not wanted else "unmatched" if wanted == -line.quantity else "partly"] += 1
    live = {invoice for left, invoice, _ in purchases if left}
    last = own[-1].at
    return (
        len(own),
        sum(line.quantity * line.price for line in own),
        len(live),
        max((at for _, invoice, at in purchases if invoice in live), default=NEVER),
        own[0].at,
        last,
        max((line.at for line in own if line.quantity < 0), default=NEVER),
        *kinds.values(),
        max((line.country for line in own if line.at == last and line.country is not None), default=None),
    )


def states_of(folder: Path) -> dict[str, tuple[Any, ...]]:
    """What the folder holds, by customer, in the fields of `by_the_book`."""
    database = connect_reader(folder)
    try:
        states, _ = read_states(database, folder)
        ids = [row[0] for row in database.execute("SELECT id FROM customers ORDER BY slot")]
        countries = [row[0] for row in database.execute("SELECT name FROM countries ORDER BY number")] + [
            None
        ]
    finally:
        database.close()
    found = {}
    for id, state in zip(ids, states, strict=True):
        if state["alive"]:
            values = [int(state[name]) for name in FIELDS[:-1]]
            found[id] = (*values, countries[state["country"]])
    return found


def ndjson(lines: Iterable[Line]) -> bytes:
    return b"".join(line.as_json() + b"\n" for line in lines)


def engine_on(folder: Path, **settings: Any) -> Engine:
    return open_engine(Settings(data=folder, **settings))


def ingest(engine: Engine, body: bytes) -> Receipt:
    """Bring NDJSON in, in this thread."""
    from dangol.adapters.ndjson import parse_ndjson

    block = parse_ndjson(body, engine.rules.input_fields, max_line_bytes=engine.settings.max_line_bytes)
    return engine.ingest(block)


def law_4_holds(counters: dict[str, Any]) -> bool:
    """Events in = accepted + anonymous + rejected + duplicates."""
    known = (
        counters["accepted"]
        + counters["anonymous"]
        + sum(counters["rejected"].values())
        + counters["duplicates"]
    )
    return bool(known == counters["events"])


def changes_of(folder: Path) -> list[tuple[int, int, int, int, str]]:
    """(slot, before, after, at, cause) of all changes, in the order they were committed."""
    database: sqlite3.Connection = connect_reader(folder)
    try:
        return database.execute("SELECT slot, before, after, at, cause FROM changes ORDER BY seq").fetchall()
    finally:
        database.close()


def some_shop(n: int, *, seed: int = 1, customers: int = 12, days: int = 300) -> list[Line]:
    """A shop in time order, with ties, cancellations, anonymous lines and late-life customers."""
    rng = np.random.default_rng(seed)
    minutes = np.sort(rng.integers(0, days * 1440, n))
    lines = []
    for number, minute in enumerate(minutes.tolist()):
        buyer = int(rng.integers(0, customers))
        cancels = rng.random() < 0.2
        quantity = int(rng.integers(1, 9))
        invoice = f"{'C' if cancels else ''}{5000 + minute // 600}"
        lines.append(
            Line(
                event=f"shop-{number:09d}",
                customer=None if rng.random() < 0.1 else f"customer-{buyer}",
                product=f"P{rng.integers(0, 4)}",
                invoice=invoice,
                at=EPOCH + minute * 60_000_000,
                quantity=-quantity if cancels else quantity,
                price=int(rng.integers(1, 5000)) * 10_000,
                country=("France", "Korea", None)[int(rng.integers(0, 3))],
            )
        )
    return lines


def chunks(items: Sequence[Line], size: int) -> list[Sequence[Line]]:
    return [items[begin : begin + size] for begin in range(0, len(items), size)]
