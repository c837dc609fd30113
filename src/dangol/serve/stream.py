"""`GET /v1/changes/stream`: every change as a server-sent event, resumable, at the reader's own pace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

__all__ = ["Stopping", "Streams", "change_events"]

POLL_SECONDS = 0.1
HEARTBEAT_SECONDS = 10.0
PAGE = 500
MAX_STREAMS = 200

ReadChanges = Callable[[int, int], list[dict[str, Any]]]
"""(after, limit) -> changes."""


class Stopping:
    """Says that the server is going down, so that endless answers end by themselves."""

    def __init__(self) -> None:
        self.flag = False


class Streams:
    """Counts open streams, so that they cannot eat every connection."""

    def __init__(self, most: int = MAX_STREAMS) -> None:
        self.most = most
        self.open = 0

    @property
    def full(self) -> bool:
        """Whether no further stream may open."""
        return self.open >= self.most


async def change_events(
    read: ReadChanges, *, latest: Callable[[], int], after: int, streams: Streams, stopping: Stopping
) -> AsyncIterator[bytes]:
    """Yield server-sent events for all changes behind `after`, then for those to come.

    Each reader has a cursor into the store and nothing else: a slow one is behind, and costs no memory.
    `latest` must be cheap; the store is read only when it has moved past the cursor.
    """
    streams.open += 1
    try:
        yield b"retry: 1000\n: dangol changes\n\n"
        quiet_since = time.monotonic()
        while not stopping.flag:
            changes = await asyncio.to_thread(read, after, PAGE) if latest() > after else []
            if changes:
                after = int(changes[-1]["seq"])
                yield b"".join(map(_event, changes))
                quiet_since = time.monotonic()
                continue
            if time.monotonic() - quiet_since >= HEARTBEAT_SECONDS:
                yield b": heartbeat\n\n"
                quiet_since = time.monotonic()
            await asyncio.sleep(POLL_SECONDS)
    finally:
        streams.open -= 1


def _event(change: dict[str, Any]) -> bytes:
    return b"id: %d\nevent: change\ndata: %b\n\n" % (change["seq"], msgspec.json.encode(change))
