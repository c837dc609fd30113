"""Where the lines of a replay come from: a file of any kind, or the generated shop, as chunks of NDJSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dangol.adapters.ndjson_write import to_ndjson
from dangol.core.schema import WIRE_FIELDS, LineBlock
from dangol.serve.lines import LineChunk

__all__ = ["GENERATED", "WIRE_FIELDS", "file_chunks", "generated_chunks", "playable"]

GENERATED = "generated"
FIRST_YEAR = 2010
TURNS = 15
ROWS = 8192


def playable(folder: Path) -> list[Path]:
    """Return the files of `folder`, not below it, whose names end like a purchase file's."""
    from dangol.adapters.files import ENDINGS

    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name.lower().endswith(ENDINGS))


def file_chunks(path: Path, fields: Sequence[str] = WIRE_FIELDS) -> Iterator[LineChunk]:
    """Yield the lines of `path` in order; NDJSON goes out as it stands, rows of other files as JSON objects.

    Rows get the event ids that `dangol load` gives them, so a file that was loaded and is then replayed
    counts as duplicates. A row that cannot be read goes out as its own text, for the server to reject.
    """
    from dangol.adapters.byte_streams import FileBytes
    from dangol.adapters.files import open_source
    from dangol.adapters.json_lines import line_chunks

    source = open_source(path)  # checks name and kind for every file
    if path.name.lower().removesuffix(".gz").endswith((".ndjson", ".jsonl")):
        for data, _ in line_chunks(FileBytes(path)):
            yield LineChunk.of(data)
        return
    for block, _ in source.blocks(tuple(fields), None):
        yield LineChunk.of(_block_lines(block))


def generated_chunks(turn: int = 0) -> Iterator[LineChunk]:
    """Yield the lines of a generated shop; each turn is another one, a year after the one before.

    After the last year that has begun it starts over, and its lines then count as duplicates.
    """
    from dangol.testing.shop import Shop
    from dangol.testing.shop_files import shop_ndjson

    turn %= TURNS
    for body in shop_ndjson(Shop(seed=turn + 1, start=f"{FIRST_YEAR + turn}-12-01", days=365), rows=ROWS):
        yield LineChunk.of(body)


def _block_lines(block: LineBlock) -> bytes:
    body = to_ndjson(block.fields)
    bad = np.flatnonzero(block.fault)
    if not len(bad):
        return body
    lines = body.split(b"\n")
    for row in bad.tolist():
        lines[row] = block.raw.text(row).replace(b"\n", b" ").replace(b"\r", b" ")
    return b"\n".join(lines)
