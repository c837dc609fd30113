"""A batch on its way through the pipeline, and what became of its lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dangol.book import Totals
from dangol.core.dedupe import Marks
from dangol.core.schema import LineBlock

__all__ = ["ACCEPTED", "ANONYMOUS", "DUPLICATED", "REJECTED", "BlockResult", "Prepared", "totals_of"]

ACCEPTED, ANONYMOUS, REJECTED, DUPLICATED = 0, 1, 2, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A cleansed block whose lines have event ids and marks."""

    block: LineBlock
    lines: pa.RecordBatch
    marks: Marks
    rejects: tuple[tuple[int, str, str], ...]  # row, reason, field


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockResult:
    """What became of each line of a block, and which were rejected why."""

    outcome: NDArray[np.uint8]
    rejects: tuple[tuple[int, str, str], ...]  # row, reason, field
    seq: int


def totals_of(outcome: NDArray[np.uint8], rejects: Sequence[tuple[int, str, str]]) -> Totals:
    """Return the counts of one block."""
    counts = np.bincount(outcome, minlength=4).tolist()
    reasons: dict[str, int] = {}
    for _, reason, _ in rejects:
        reasons[reason] = reasons.get(reason, 0) + 1
    return Totals(
        events=len(outcome),
        accepted=counts[ACCEPTED],
        anonymous=counts[ANONYMOUS],
        duplicates=counts[DUPLICATED],
        rejected=reasons,
    )
