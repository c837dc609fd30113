"""Reads NDJSON, plain or gzipped, in chunks of whole lines; memory is bounded however long a line is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dangol.adapters.byte_streams import FileBytes
from dangol.adapters.ndjson import parse_ndjson
from dangol.core.schema import LineBlock

__all__ = ["JsonLinesSource", "line_chunks"]

_CHUNK = 1 << 22
_LONGEST = 1 << 24
"""What is kept of a line that does not end; the parser rejects far shorter ones as line_too_long."""


class JsonLinesSource:
    """A `Source` over NDJSON: its position is the number of unpacked bytes that are done."""

    unit = "bytes"

    def __init__(self, path: Path, *, name: str) -> None:
        self._path = path
        self.name = name
        self.total = path.stat().st_size
        self.done = 0

    def blocks(self, fields: tuple[str, ...], after: str | None) -> Iterator[tuple[LineBlock, str]]:
        """Yield (block, bytes done as text), beginning behind `after`."""
        stream = FileBytes(self._path)
        start = int(after) if after else 0
        stream.skip(start)
        for data, at in line_chunks(stream, start):
            self.done = stream.done
            yield parse_ndjson(data, fields), str(at)


def line_chunks(
    stream: FileBytes, at: int = 0, *, chunk: int = _CHUNK, longest: int = _LONGEST
) -> Iterator[tuple[bytes, int]]:
    """Yield (whole lines, bytes of the stream behind them); an overlong line keeps only its beginning."""
    held = b""
    cut = 0  # bytes of the present line that were dropped
    while piece := stream.read(chunk):
        end = piece.rfind(b"\n") + 1
        if not end:
            room = longest - len(held)
            held, cut = held + piece[:room], cut + max(len(piece) - room, 0)
            continue
        if cut:  # the rest of the long line goes too
            first = piece.index(b"\n")
            cut += first
            at += len(held) + cut + 1
            yield held + b"\n", at
            held, cut, piece, end = b"", 0, piece[first + 1 :], end - first - 1
        data = b"".join((held, memoryview(piece)[:end]))  # one copy, where slicing and adding make two
        at += len(data)
        held = piece[end:]
        if data:
            yield data, at
    if held:
        yield held, at + len(held) + cut
