"""Opens a purchase file as a source of lines, whatever its kind: parquet, CSV, Excel or NDJSON."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from dangol.adapters.delimited import DelimitedTable
from dangol.adapters.json_lines import JsonLinesSource
from dangol.adapters.ndjson_write import to_ndjson
from dangol.adapters.parquet import ParquetTable
from dangol.adapters.tables import TableSource
from dangol.adapters.xlsx import XlsxTable
from dangol.core.schema import LineBlock
from dangol.errors import BadFile

__all__ = ["ENDINGS", "FileSource", "open_source", "to_ndjson"]

ENDINGS = (".parquet", ".csv", ".csv.gz", ".xlsx", ".ndjson", ".ndjson.gz", ".jsonl", ".jsonl.gz")
"""What a file's name may end in; the ending tells its kind."""

_EDGE = 1 << 16


class FileSource(Protocol):
    """A `ports.Source` over a file, which also says how far it is."""

    @property
    def name(self) -> str:
        """The key under which the position is stored: the same for the same file wherever it lies."""
        ...

    @property
    def total(self) -> int | None:
        """How many `unit`s there are to read; None where only reading would tell."""
        ...

    @property
    def unit(self) -> str:
        """Return "rows" or "bytes"."""
        ...

    @property
    def done(self) -> int:
        """How many `unit`s have been read."""
        ...

    def blocks(self, fields: tuple[str, ...], after: str | None) -> Iterator[tuple[LineBlock, str]]:
        """Yield (block, position behind it), beginning behind `after`."""
        ...


def open_source(
    path: Path,
    *,
    block_rows: int = 20000,
    encoding: str = "utf-8",
    progress: Callable[[int, int | None], None] | None = None,
) -> FileSource:
    """Open `path` by its ending; `BadFile` says in one line what is wrong with it.

    `encoding` is for CSV alone. `progress` gets (done, total) while the rows of an Excel file are read.
    """
    ending = _ending(path)
    _check(path, ending)
    name, stem = _key(path, ending), path.name[: -len(ending)]
    if ending.startswith((".ndjson", ".jsonl")):
        return JsonLinesSource(path, name=name)
    table: ParquetTable | XlsxTable | DelimitedTable
    if ending == ".parquet":
        table = ParquetTable(path)
    elif ending == ".xlsx":
        table = XlsxTable(path, progress=progress)
    else:
        table = DelimitedTable(path, encoding=encoding)
    return TableSource(table, name=name, file=path.name, stem=stem, block_rows=block_rows)


def _ending(path: Path) -> str:
    """Return the longest known ending of the file's name, "" if it has none."""
    name = path.name.lower()
    return max((ending for ending in ENDINGS if name.endswith(ending)), key=len, default="")


def _check(path: Path, ending: str) -> None:
    if path.is_dir():
        message = f"{path} is a folder: name one file in it"
    elif not path.exists():
        message = f"{path} does not exist: check the name"
    elif not path.is_file():
        message = f"{path} is no regular file: write what comes from it to a file first"
    elif not ending:
        message = f"{path} is of an unknown kind: its name must end in one of {', '.join(ENDINGS)}"
    elif not path.stat().st_size:
        message = f"{path} is empty: get the file again"
    else:
        return
    raise BadFile(message)


def _key(path: Path, ending: str) -> str:
    """Return stem, size and a hash of both edges: cheap, and another file gets another key."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            digest = hashlib.sha256(file.read(_EDGE))
            file.seek(max(size - _EDGE, 0))
            digest.update(file.read(_EDGE))
    except OSError as error:
        message = f"{path} cannot be opened ({error.strerror}): check its permissions"
        raise BadFile(message) from error
    return f"{path.name[: -len(ending)]}-{size}-{digest.hexdigest()[:16]}"
