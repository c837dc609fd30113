"""The engine's status as JSON: one look, used by `/v1/status`, `/metrics` and the live page alike."""

from __future__ import annotations

import shutil
from typing import Any

from dangol import __version__
from dangol.engine import Engine
from dangol.render import iso

__all__ = ["not_ready", "status_json"]

MIN_FREE_BYTES = 64 << 20


def status_json(engine: Engine) -> dict[str, Any]:
    """Return the status of `engine` with the fields of `models.StatusNow`."""
    status = engine.status()
    total = sum(segment["count"] for segment in status.segments.values())
    return {
        "events": status.events,
        "accepted": status.accepted,
        "anonymous": status.anonymous,
        "rejected": dict(status.rejected),
        "rejected_total": sum(status.rejected.values()),
        "duplicates": status.duplicates,
        "customers": status.customers,
        "live_customers": status.live_customers,
        "clock": iso(status.clock),
        "lines_per_second": status.lines_per_second,
        "delay_p99_ms": status.delay_p99_ms,
        "commit_p50_ms": status.commit_p50_ms,
        "commit_p99_ms": status.commit_p99_ms,
        "queue_bytes": status.queue_bytes,
        "batches": status.batches,
        "changes": status.changes,
        "segments": {
            name: {
                "customers": segment["count"],
                "share": segment["count"] / total if total else 0.0,
                "monetary": segment["monetary"],
            }
            for name, segment in status.segments.items()
        },
        "cancellations": dict(status.cancellations),
        "model": dict(status.model),
        "started_at": iso(status.started_at),
        "last_commit_at": iso(status.last_commit_at),
        "disk_bytes": status.disk_bytes,
        "version": __version__,
    }


def not_ready(engine: Engine) -> str | None:
    """Return why the engine takes no events now, or None when it does."""
    if not engine.running:
        return "The engine's threads do not run: the log tells why; start the server again."
    free = shutil.disk_usage(engine.settings.data).free
    if free < MIN_FREE_BYTES:
        return f"The disk of the data folder has {free >> 20} MiB left: make room."
    return None
