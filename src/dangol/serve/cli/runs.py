"""The counts of one run, as `load`, `demo` and `rejects replay` report them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dangol.serve.cli.app import say

if TYPE_CHECKING:
    from dangol.engine import Engine
    from dangol.receipt import Receipt
    from dangol.status import Status

__all__ = ["FIRST_FIT", "RunCounts", "first_fit", "in_words", "run_report"]

FIRST_FIT = 200
"""Customers with a live invoice that a first model needs."""


class RunCounts:
    """Adds up receipts."""

    def __init__(self) -> None:
        self.events = self.accepted = self.anonymous = self.duplicates = 0
        self.rejected: Counter[str] = Counter()

    def add(self, receipt: Receipt) -> None:
        """Add the counts of one commit."""
        self.events += receipt.events
        self.accepted += receipt.accepted
        self.anonymous += receipt.anonymous
        self.duplicates += receipt.duplicates
        self.rejected.update(reject.reason for reject in receipt.rejects)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as they stand in JSON."""
        return {
            "events": self.events,
            "accepted": self.accepted,
            "anonymous": self.anonymous,
            "rejected": dict(sorted(self.rejected.items())),
            "duplicates": self.duplicates,
        }


def run_report(counts: Mapping[str, Any], status: Status, seconds: float) -> dict[str, Any]:
    """Return the JSON of `load` and `demo`: the counts of the run, and what the folder holds after it."""
    return {
        **counts,
        "customers": status.customers,
        "seconds": round(seconds, 3),
        "live_customers": status.live_customers,
        "cancellations": dict(status.cancellations),
        "lines_per_second": round(counts["events"] / seconds) if seconds else None,
        "model": dict(status.model),
    }


def first_fit(engine: Engine) -> None:
    """Fit and promote a first model if the starting one is live and enough customers are; say so."""
    from dangol.errors import FitRefused

    status = engine.status()
    if not status.model["starting"] or status.live_customers < FIRST_FIT:
        return
    try:
        model = engine.fit(promote=True)
    except FitRefused as refused:
        say(str(refused).capitalize() + ".")
        return
    say(f"Fitted model {model.version} on {status.live_customers:,} customers; it is live now.")


def in_words(report: Mapping[str, Any]) -> str:
    """Return the run in one sentence."""
    from dangol.serve.terminal import counted

    model = report["model"]
    judged = "the starting model" if model["starting"] else f"model {model['version']}"
    rate, live = report["lines_per_second"] or 0, report["live_customers"]
    return (
        f"{counted(report['events'], 'line')} in {report['seconds']:.1f} s ({rate:,} a second); "
        f"{counted(report['customers'], 'customer')}, {live:,} with a live invoice, judged by {judged}."
    )
