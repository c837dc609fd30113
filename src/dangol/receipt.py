"""What a sender is told: how many lines became what, and which were rejected why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dangol.batch import ACCEPTED, ANONYMOUS, DUPLICATED, REJECTED, BlockResult
from dangol.core.schema import LineBlock

__all__ = ["LineReject", "Receipt", "count_outcomes", "line_number", "receipt_of"]


@dataclass(frozen=True, slots=True)
class LineReject:
    """A rejected line: its number in the request or block (from 1), why, and the field at fault."""

    line: int
    reason: str
    field: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Durable counts; events = accepted + anonymous + rejected + duplicates."""

    events: int
    accepted: int
    anonymous: int
    rejected: int
    duplicates: int
    rejects: Sequence[LineReject]
    batch: int


def receipt_of(block: LineBlock, result: BlockResult) -> Receipt:
    """Return the receipt of a whole block."""
    rejects = [LineReject(line_number(block, row), reason, field) for row, reason, field in result.rejects]
    return count_outcomes(result.outcome, rejects, result.seq)


def count_outcomes(outcome: NDArray[np.uint8], rejects: Sequence[LineReject], seq: int) -> Receipt:
    """Return the receipt of lines with these outcomes."""
    counts = np.bincount(outcome, minlength=4).tolist()
    return Receipt(
        events=len(outcome),
        accepted=counts[ACCEPTED],
        anonymous=counts[ANONYMOUS],
        rejected=counts[REJECTED],
        duplicates=counts[DUPLICATED],
        rejects=rejects,
        batch=seq,
    )


def line_number(block: LineBlock, row: int) -> int:
    """Return the line's number where it came from; sources that do not know count rows."""
    numbered = getattr(block.raw, "line_number", None)
    return int(numbered(row)) if numbered is not None else row + 1
