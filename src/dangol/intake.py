"""Request bodies on their way through the engine: many go into one batch, and each gets its own receipt."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from dangol.adapters.ndjson import Lines
from dangol.batch import BlockResult
from dangol.core.schema import Int64, LineBlock
from dangol.receipt import LineReject, Receipt, count_outcomes

__all__ = ["Body", "Group", "split_result"]

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Body:
    """Lines of JSON that were handed in, and who waits for them."""

    data: bytes
    future: Future[Receipt]
    arrived: float
    """`time.perf_counter()` when they came."""


@dataclass(frozen=True, slots=True)
class Group:
    """Bodies that go into one batch; `first_lines` [n + 1] are their places among its physical lines."""

    bodies: Sequence[Body]
    data: bytes
    first_lines: Int64
    size: int

    @classmethod
    def of(cls, bodies: Sequence[Body]) -> Group:
        """Join bodies, each on lines of its own."""
        texts = [body.data.removeprefix(_BOM) for body in bodies]
        lines = [0, *(text.count(b"\n") + 1 for text in texts)]
        return cls(
            bodies=bodies,
            data=texts[0] if len(texts) == 1 else b"\n".join(texts),
            first_lines=np.cumsum(lines, dtype=np.int64),
            size=sum(len(body.data) for body in bodies),
        )


def split_result(group: Group, block: LineBlock, result: BlockResult) -> list[Receipt]:
    """Return one receipt for each body; `block` was parsed from the group's data."""
    raw = block.raw
    assert isinstance(raw, Lines)
    numbers = raw.line_numbers.astype(np.int64) - 1
    cuts = np.searchsorted(numbers, group.first_lines).tolist()
    rejects: list[list[LineReject]] = [[] for _ in group.bodies]
    for row, reason, field in result.rejects:
        line = int(numbers[row])
        body = int(np.searchsorted(group.first_lines, line, side="right")) - 1
        rejects[body].append(LineReject(line - int(group.first_lines[body]) + 1, reason, field))
    return [
        count_outcomes(result.outcome[begin:end], rejects[body], result.seq)
        for body, (begin, end) in enumerate(zip(cuts[:-1], cuts[1:], strict=True))
    ]
