"""`GET /metrics`: the engine's counters in Prometheus text, all of one answer from one look at the engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dangol.engine import Engine
from dangol.render import micros
from dangol.serve.status import status_json

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]


class Metrics(Collector):
    """Turns one engine status into metric families; has a registry of its own, so engines do not mix."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def render(self) -> bytes:
        """Return the text of all metrics."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Return nothing: registering must not read the engine."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        status = status_json(self._engine)
        yield from _events(status)
        yield from _customers(status)
        yield from _work(status)


def _events(status: dict[str, Any]) -> Iterator[Metric]:
    taken = CounterMetricFamily("dangol_events_in", "Lines taken in.")
    taken.add_metric([], status["events"])
    yield taken
    events = CounterMetricFamily(
        "dangol_events", "Lines by outcome; together all taken in.", labels=["outcome"]
    )
    for outcome, key in (("accepted", "accepted"), ("anonymous", "anonymous"), ("duplicate", "duplicates")):
        events.add_metric([outcome], status[key])
    events.add_metric(["rejected"], status["rejected_total"])
    yield events
    rejected = CounterMetricFamily("dangol_rejected", "Rejected lines by reason.", labels=["reason"])
    for reason, count in sorted(status["rejected"].items()):
        rejected.add_metric([reason], count)
    yield rejected
    cancels = CounterMetricFamily("dangol_cancellations", "Cancellation lines by match.", labels=["match"])
    for match, count in status["cancellations"].items():
        cancels.add_metric([match], count)
    yield cancels


def _customers(status: dict[str, Any]) -> Iterator[Metric]:
    by_segment = GaugeMetricFamily("dangol_customers", "Customers by segment.", labels=["segment"])
    for name, segment in status["segments"].items():
        by_segment.add_metric([name], segment["customers"])
    yield by_segment
    yield GaugeMetricFamily("dangol_customers_with_state", "Customers seen.", status["customers"])
    yield GaugeMetricFamily(
        "dangol_customers_live", "Customers with a live invoice.", status["live_customers"]
    )
    yield CounterMetricFamily("dangol_changes", "Segment changes ever recorded.", status["changes"])


def _work(status: dict[str, Any]) -> Iterator[Metric]:
    latency = GaugeMetricFamily(
        "dangol_commit_latency_seconds", "Time of recent commits to disk.", labels=["quantile"]
    )
    for quantile, key in (("0.5", "commit_p50_ms"), ("0.99", "commit_p99_ms")):
        if status[key] is not None:
            latency.add_metric([quantile], status[key] / 1000)
    yield latency
    delay = GaugeMetricFamily(
        "dangol_delay_seconds", "From taken in to committed, recent lines.", labels=["quantile"]
    )
    if status["delay_p99_ms"] is not None:
        delay.add_metric(["0.99"], status["delay_p99_ms"] / 1000)
    yield delay
    yield GaugeMetricFamily("dangol_lines_per_second", "Recent rate.", status["lines_per_second"])
    yield GaugeMetricFamily("dangol_queue_bytes", "Bytes that wait for a commit.", status["queue_bytes"])
    yield CounterMetricFamily("dangol_batches", "Commits.", status["batches"])
    yield GaugeMetricFamily("dangol_disk_bytes", "Size of the data folder.", status["disk_bytes"])
    yield GaugeMetricFamily("dangol_model_version", "Model in use.", status["model"]["version"])
    starting = float(status["model"]["starting"])
    yield GaugeMetricFamily("dangol_model_starting", "1 while the built-in model serves.", starting)
    for name, key, text in (
        ("dangol_clock_timestamp_seconds", "clock", "The moment the data is judged at."),
        ("dangol_last_commit_timestamp_seconds", "last_commit_at", "The latest commit."),
        ("dangol_started_timestamp_seconds", "started_at", "Start of the engine."),
    ):
        if status[key] is not None:
            yield GaugeMetricFamily(name, text, micros(status[key]) / 1e6)
