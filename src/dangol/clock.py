"""The wall clock, and one that tests set by hand."""

from __future__ import annotations

import time

__all__ = ["ManualClock", "WallClock"]


class WallClock:
    """The machine's time."""

    def now(self) -> int:
        """Return microseconds since 1970 UTC."""
        return time.time_ns() // 1000


class ManualClock:
    """A clock that stands until it is moved."""

    def __init__(self, now: int) -> None:
        self._now = now

    def now(self) -> int:
        """Return microseconds since 1970 UTC."""
        return self._now

    def move_to(self, now: int) -> None:
        """Set the time."""
        self._now = now
