"""`dangol export customers`: every customer with segment and probabilities, as a file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dangol.errors import StoreFailed, UsageError
from dangol.serve.cli.app import as_of_option, common, moment, segment_option
from dangol.serve.cli.looking import reading

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["export"]

ROWS_AT_ONCE = 1 << 16


@click.group()
def export() -> None:
    """Write what the engine knows to a file."""


@export.command()
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Ends in .csv, .parquet or .jsonl.",
)
@common
@segment_option
@as_of_option
def customers(out: Path, data: Path | None, as_json: bool, segment: str | None, as_of: str | None) -> None:
    """Write all customers (of a segment) to FILE, one a row.

    FILE gets its name only when it is whole. Money is in currency units, times are UTC.
    """
    from dangol.serve.terminal import counted, emit, show

    write = _writer(out)
    with reading(data) as view:
        table = view.export(segment=segment, as_of=moment(as_of))
    _write_whole(out, table, write)
    if as_json:
        emit({"rows": table.num_rows, "out": str(out)})
    else:
        show(f"Wrote {counted(table.num_rows, 'customer')} to {out}.")


def _writer(out: Path) -> Callable[[pa.Table, Path], None]:
    writers = {
        ".csv": _write_csv,
        ".parquet": _write_parquet,
        ".jsonl": _write_jsonl,
        ".ndjson": _write_jsonl,
    }
    write = writers.get(out.suffix.lower())
    if write is None:
        message = f"{out} is of an unknown kind: its name must end in .csv, .parquet or .jsonl"
        raise UsageError(message)
    if out.is_dir() or not out.parent.is_dir():
        what = "is a folder" if out.is_dir() else f"cannot be made, for there is no folder {out.parent}"
        message = f"{out} {what}: name a file in a folder that is there"
        raise UsageError(message)
    return write


def _write_whole(out: Path, table: pa.Table, write: Callable[[pa.Table, Path], None]) -> None:
    """Write beside the target, sync, and only then take its name."""
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        write(table, part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(out)
    except OSError as error:
        message = f"{out} cannot be written ({error.strerror or error}): make room, or name another place"
        raise StoreFailed(message) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _write_parquet(table: pa.Table, path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(table, path, compression="zstd")


def _write_csv(table: pa.Table, path: Path) -> None:
    import pyarrow.csv as csv

    csv.write_csv(_times_as_text(table), path)


def _write_jsonl(table: pa.Table, path: Path) -> None:
    import msgspec

    encoder = msgspec.json.Encoder()
    with path.open("wb") as file:
        for batch in _times_as_text(table).to_batches(ROWS_AT_ONCE):
            file.write(encoder.encode_lines(batch.to_pylist()))


def _times_as_text(table: pa.Table) -> pa.Table:
    """Write times as everywhere in JSON: ISO 8601 with Z, fractions only where there are any."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for place, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            text = pc.strftime(table.column(place).cast(pa.timestamp("us")), "%Y-%m-%dT%H:%M:%S")
            text = pc.binary_join_element_wise(pc.replace_substring(text, ".000000", ""), "Z", "")
            table = table.set_column(place, field.name, text)
    return table
