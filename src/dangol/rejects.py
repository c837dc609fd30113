"""Rejected lines, brought in again after the rule file, or the lines themselves, were mended."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dangol.adapters.ndjson import parse_ndjson
from dangol.core.schema import LineBlock
from dangol.errors import NotFound
from dangol.pipeline import Pipeline
from dangol.receipt import Receipt, count_outcomes, receipt_of

__all__ = ["replay_rejects"]

_AT_ONCE = 10_000


def replay_rejects(pipeline: Pipeline, seqs: Sequence[int] | None, max_line_bytes: int) -> Receipt:
    """Bring open rejects in again, all if `seqs` is None; those accepted now are marked as replayed.

    A line that is rejected again stays as it is and counts as a duplicate of itself.
    """
    wanted = _open_rejects(pipeline, seqs)
    total = count_outcomes(np.empty(0, np.uint8), [], pipeline.store.seq)
    for begin in range(0, len(wanted), _AT_ONCE):
        part = wanted[begin : begin + _AT_ONCE]
        rows = pipeline.store.database.execute(
            f"SELECT seq, raw FROM rejects WHERE seq IN ({', '.join('?' * len(part))}) ORDER BY seq", part
        ).fetchall()
        for block, numbers in _blocks(rows, pipeline, max_line_bytes):
            result = pipeline.step(pipeline.prepare(block), replay_of=numbers)
            total = _sum(total, receipt_of(block, result))
    return total


def _open_rejects(pipeline: Pipeline, seqs: Sequence[int] | None) -> list[int]:
    rows = pipeline.store.database.execute(
        "SELECT seq FROM rejects WHERE status = 'open' AND length(raw) > 0"
    )
    known = [int(row[0]) for row in rows]
    if seqs is None:
        return known
    missing = sorted(set(seqs) - set(known))
    if missing:
        message = f"reject {missing[0]} is not open: `dangol rejects list` shows those that are"
        raise NotFound(message)
    return sorted(set(seqs))


def _blocks(
    rows: Sequence[tuple[int, bytes]], pipeline: Pipeline, max_line_bytes: int
) -> list[tuple[LineBlock, list[int]]]:
    """Parse stored lines; one with line ends inside (an element of a JSON array) is a block of its own."""
    plain = [(seq, raw) for seq, raw in rows if b"\n" not in raw and raw.strip()]
    fields = pipeline.input_fields
    data = b"\n".join(raw for _, raw in plain)
    blocks = [(parse_ndjson(data, fields, max_line_bytes=max_line_bytes), [seq for seq, _ in plain])]
    for seq, raw in rows:
        if b"\n" in raw:
            line = raw.replace(b"\r", b" ").replace(b"\n", b" ")  # between JSON tokens they mean the same
            blocks.append((parse_ndjson(line, fields, max_line_bytes=max_line_bytes), [seq]))
    return [(block, numbers) for block, numbers in blocks if len(block) == len(numbers) and numbers]


def _sum(first: Receipt, second: Receipt) -> Receipt:
    return Receipt(
        events=first.events + second.events,
        accepted=first.accepted + second.accepted,
        anonymous=first.anonymous + second.anonymous,
        rejected=first.rejected + second.rejected,
        duplicates=first.duplicates + second.duplicates,
        rejects=[*first.rejects, *second.rejects],
        batch=second.batch,
    )
