"""Decides when the next lines of a file may go: at a rate, at a multiple of their own time, or at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from dangol.serve.lines import LineChunk

__all__ = ["MAX_BODY_BYTES", "MAX_BODY_LINES", "Pace", "paced_bodies"]

MAX_BODY_LINES = 20_000
MAX_BODY_BYTES = 4 << 20
BODY_SECONDS = 0.02
"""At low rates a body holds what is due in this time: small bodies, low delay."""
CATCH_UP_SECONDS = 1.0
"""After a stall at most this much is made up for, so that no flood follows it."""


class Pace:
    """Lets lines go at a rate that can change while they do. Safe to change from any thread.

    - rate: lines a second
    - speed: multiple of the lines' own time; 60 plays an hour in a minute
    - clock: seconds, never falling

    With neither rate nor speed, lines go as fast as they are taken.
    """

    def __init__(
        self,
        *,
        rate: float | None = None,
        speed: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rate = rate
        self.speed = speed
        self.paused = False
        self.stopped = False
        self._clock = clock
        self._turn = threading.Condition()
        self._base: tuple[float, float] | None = None  # moment, and lines or event time granted by then

    def change(
        self, *, rate: float | None = None, speed: float | None = None, paused: bool | None = None
    ) -> None:
        """Go on at another rate or speed, or pause, or go on; what is None stays as it is."""
        with self._turn:
            if rate is not None or speed is not None:
                self.rate, self.speed = rate, None if rate is not None else speed
            if paused is not None:
                self.paused = paused
            self._base = None
            self._turn.notify_all()

    def stop(self) -> None:
        """Let nothing go from now on."""
        with self._turn:
            self.stopped = True
            self._turn.notify_all()

    def wait(self, seconds: float) -> bool:
        """Wait that long unless stopped before; tell whether to go on."""
        with self._turn:
            self._turn.wait_for(lambda: self.stopped, seconds)
            return not self.stopped

    def granted(self, chunk: LineChunk, start: int) -> int:
        """Wait until lines of `chunk` from `start` on may go; return how many, 0 once stopped."""
        with self._turn:
            while not self.stopped:
                count, seconds = (0, 1.0) if self.paused else self._due(chunk, start)
                if count:
                    return count
                self._turn.wait(min(seconds, 1.0))
        return 0

    def _due(self, chunk: LineChunk, start: int) -> tuple[int, float]:
        left = chunk.fitting(start, max_lines=MAX_BODY_LINES, max_bytes=MAX_BODY_BYTES)
        if self.rate is not None:
            return self._due_by_rate(self.rate, left)
        if self.speed is not None:
            return self._due_by_time(self.speed, chunk, start, left)
        return left, 0.0

    def _due_by_rate(self, rate: float, left: int) -> tuple[int, float]:
        now = self._clock()
        want = min(left, max(1, int(rate * BODY_SECONDS)))
        if self._base is None:
            self._base = (now, 0.0)
        since, taken = self._base
        allowed = (now - since) * rate - taken
        if allowed > max(rate * CATCH_UP_SECONDS, want):
            since, taken, allowed = now, -rate * CATCH_UP_SECONDS, rate * CATCH_UP_SECONDS
        if allowed < want:
            return 0, (want - allowed) / rate
        count = min(int(allowed), left)
        self._base = (since, taken + count)
        return count, 0.0

    def _due_by_time(self, speed: float, chunk: LineChunk, start: int, left: int) -> tuple[int, float]:
        now = self._clock()
        first = int(chunk.times[start])
        if self._base is None:
            self._base = (now, float(first))
        since, played = self._base
        until = played + (now - since) * speed * 1e6
        if until - first > CATCH_UP_SECONDS * speed * 1e6:  # behind by too much: play on from here
            self._base = (now, float(first))
            until = float(first)
        count = int(np.searchsorted(chunk.times[start : start + left], until, side="right"))
        return count, max(0.0, (first - until) / speed / 1e6)


def paced_bodies(chunks: Iterable[LineChunk], pace: Pace) -> Iterator[tuple[bytes, int]]:
    """Yield (NDJSON body, number of its lines) as `pace` lets them go, until it is stopped.

    Bodies grow with the rate: about 20 ms of lines each, up to 20,000 lines or 4 MiB.
    """
    for chunk in chunks:
        start = 0
        while start < len(chunk):
            count = pace.granted(chunk, start)
            if not count:
                return
            yield chunk.cut(start, start + count), count
            start += count
