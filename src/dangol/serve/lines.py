"""Chunks of NDJSON that can be cut at any line without looking at it again, and their event times."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dangol.core.schema import Int64
from dangol.errors import UsageError

__all__ = ["LineChunk"]

TIME = re.compile(rb'"InvoiceDate"\s*:\s*"([^"]*)"')


@dataclass(frozen=True)
class LineChunk:
    """NDJSON of whole lines, with the place behind each of them."""

    body: bytes
    ends: Int64

    @classmethod
    def of(cls, body: bytes) -> LineChunk:
        """Find the lines of `body`; a last line without a line end counts too."""
        ends = np.flatnonzero(np.frombuffer(body, np.uint8) == 10).astype(np.int64) + 1
        if body and not body.endswith(b"\n"):
            ends = np.append(ends, np.int64(len(body)))
        return cls(body, ends)

    def __len__(self) -> int:
        return len(self.ends)

    def cut(self, start: int, end: int) -> bytes:
        """Return lines `start` (from 0) up to but not including `end`."""
        first = int(self.ends[start - 1]) if start else 0
        return self.body[first : int(self.ends[end - 1])]

    def fitting(self, start: int, *, max_lines: int, max_bytes: int) -> int:
        """Return how many lines from `start` on stay within both limits; at least one."""
        first = int(self.ends[start - 1]) if start else 0
        within = int(np.searchsorted(self.ends, first + max_bytes, side="right")) - start
        return max(1, min(within, max_lines, len(self) - start))

    @cached_property
    def times(self) -> Int64:
        """The event time of each line in microseconds, never falling: a late line goes with its neighbours.

        A line whose time cannot be read goes with the one before it.
        """
        found = [TIME.search(self.cut(i, i + 1)) for i in range(len(self))]
        texts = [match[1].decode("ascii", "replace").removesuffix("Z") if match else "NaT" for match in found]
        times = np.array([_time(text) for text in texts], np.int64)
        if (times == NAT).all():
            message = (
                "No line of the file has an InvoiceDate that can be read; give a rate in place of a speed."
            )
            raise UsageError(message)
        return np.maximum.accumulate(times)


NAT = np.iinfo(np.int64).min


def _time(text: str) -> int:
    try:
        return int(np.datetime64(text, "us").astype(np.int64))
    except ValueError:
        return NAT
