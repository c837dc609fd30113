"""The customers in memory: states, names, who is due next, and the totals; always what was last committed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from dangol.adapters.local import LocalStore
from dangol.adapters.local_read import read_states
from dangol.adapters.numbering import Numbering
from dangol.core.due import DueQueue
from dangol.core.fold import empty_states
from dangol.core.model_card import Model, from_json
from dangol.core.schema import NEVER, Int64, States

__all__ = ["Book", "Totals"]


@dataclass(slots=True)
class Totals:
    """Events in = accepted + anonymous + rejected + duplicates, at every commit."""

    events: int = 0
    accepted: int = 0
    anonymous: int = 0
    duplicates: int = 0
    rejected: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the totals as they are stored and shown."""
        return {
            "events": self.events,
            "accepted": self.accepted,
            "anonymous": self.anonymous,
            "rejected": dict(sorted(self.rejected.items())),
            "duplicates": self.duplicates,
        }

    def plus(self, other: Totals) -> Totals:
        """Return the sum of both."""
        reasons = {
            reason: self.rejected.get(reason, 0) + other.rejected.get(reason, 0)
            for reason in {*self.rejected, *other.rejected}
        }
        return Totals(
            events=self.events + other.events,
            accepted=self.accepted + other.accepted,
            anonymous=self.anonymous + other.anonymous,
            duplicates=self.duplicates + other.duplicates,
            rejected=reasons,
        )


class Book:
    """Made from the store at the start and after a failed commit; changed only by what was committed."""

    def __init__(self, store: LocalStore) -> None:
        database = store.database
        self._states, _ = read_states(database, store.folder)
        self.count = len(self._states)
        secret = int(store.meta("hash_seed"))
        erased = f"'erased-{secret}-' || slot"  # keeps an erased customer's number taken; nobody can guess it
        names = database.execute(f"SELECT coalesce(id, {erased}) FROM customers ORDER BY slot")
        self.customers = _numbered(row[0] for row in names)
        self.products = _numbered(r[0] for r in database.execute("SELECT code FROM products ORDER BY number"))
        self.countries = _numbered(
            r[0] for r in database.execute("SELECT name FROM countries ORDER BY number")
        )
        self.stored = self._name_counts()
        last = database.execute("SELECT clock, counters FROM commits ORDER BY seq DESC LIMIT 1").fetchone()
        self.clock = int(last[0]) if last else NEVER
        self.totals = Totals(**json.loads(last[1])) if last else Totals()
        erased_change = "SELECT value FROM meta WHERE key = 'last_change'"  # its number is never given again
        newest = f"SELECT max(coalesce((SELECT max(seq) FROM changes), 0), coalesce(({erased_change}), 0))"
        self.last_change = int(database.execute(newest).fetchone()[0])
        live = database.execute("SELECT card FROM models WHERE status = 'live'").fetchone()
        self.model: Model = from_json(live[0])
        self.fit_refused_at = 0
        self.due = DueQueue(self.states["next_change_at"])

    def _name_counts(self) -> dict[str, int]:
        named = {"customers": self.customers, "products": self.products, "countries": self.countries}
        return {kind: len(numbering) for kind, numbering in named.items()}

    @property
    def states(self) -> States:
        """The states of all customers, by slot."""
        return self._states[: self.count]

    def rows(self, slots: Int64) -> States:
        """Return copies of the states of `slots`; customers beyond the last known one are new."""
        known = slots < self.count
        rows = empty_states(len(slots))
        rows[known] = self._states[slots[known]]
        return rows

    def apply(self, slots: Int64, rows: States) -> None:
        """Take in committed states, and that all names given so far are stored."""
        self.stored = self._name_counts()
        if not len(slots):
            return
        needed = int(slots.max()) + 1
        if needed > len(self._states):
            grown = empty_states(max(1024, needed, len(self._states) * 3 // 2))
            grown[: self.count] = self._states[: self.count]
            self._states = grown
        self.count = max(self.count, needed)
        self._states[slots] = rows
        self.due.touch(slots, self.states["next_change_at"])


def _numbered(names: Any) -> Numbering:
    return Numbering(list(names))
