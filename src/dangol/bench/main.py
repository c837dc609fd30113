"""`dangol bench`: runs the cases one after the other and shows a row for each figure."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click

from dangol.bench.inputs import FULL, QUICK, Inputs, Sizes
from dangol.bench.living import http_ndjson, latency, micro, start
from dangol.bench.loading import load_ndjson, load_parquet, memory, scale
from dangol.bench.rows import Row, around_table, as_markdown, as_text, dumps, machine, put_table
from dangol.errors import UsageError

__all__ = ["CASES", "bench", "main", "run"]

_FILE = click.Path(path_type=Path)
CASES: dict[str, Callable[[Inputs], Iterator[Row]]] = {
    "load-parquet": load_parquet,
    "load-ndjson": load_ndjson,
    "http-ndjson": http_ndjson,
    "latency": latency,
    "memory": memory,
    "scale": scale,
    "start": start,
    "micro": micro,
}


def run(
    cases: Sequence[str] | None,
    file: Path | None,
    quick: bool,
    out: Callable[[Row], None] | None = None,
    *,
    sizes: Sizes | None = None,
    scratch: Path | None = None,
) -> list[Row]:
    """Measure the named cases (None or empty: all) on a parquet file (None: a generated shop).

    Each row goes to `out` as soon as it is known. `scratch` is where temporary folders are made: on the disk
    that is to be measured. Raises JobFailed when final states are not those of the batch oracle.
    """
    wanted = list(cases or CASES)
    for name in wanted:
        if name not in CASES:
            message = f"there is no benchmark {name!r}: the cases are {', '.join(CASES)}"
            raise UsageError(message)
    rows = []
    with tempfile.TemporaryDirectory(prefix="dangol-bench-", dir=scratch) as folder:
        inputs = Inputs(Path(folder), file, sizes or (QUICK if quick else FULL))
        for name in wanted:
            for row in CASES[name](inputs):
                rows.append(row)
                if out is not None:
                    out(row)
    return rows


@click.command("bench", help=f"Measure side by side with the machine's limits. Cases: {', '.join(CASES)}.")
@click.argument("cases", nargs=-1)
@click.option("--file", type=_FILE, help="Parquet file (default: a generated shop).")
@click.option("--quick", is_flag=True, help="Small sizes: minutes become seconds, and figures rougher.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object to standard output.")
@click.option("--markdown", is_flag=True, help="Write a table to standard output.")
@click.option("--into", type=_FILE, help="Put the table into this page: docs/performance.md.")
@click.option("--scratch", type=_FILE, help="Folder for temporary files, on the disk to measure.")
def bench(
    cases: tuple[str, ...],
    file: Path | None,
    quick: bool,
    as_json: bool,
    markdown: bool,
    into: Path | None,
    scratch: Path | None,
) -> None:
    """Measure, and show each row as it comes: on standard error where output goes to the other."""
    told = as_json or markdown
    if into is not None:
        around_table(into)  # a page that is none is told before the long run, not behind it
    click.echo(f"dangol bench on {machine()}", err=told)

    def show(row: Row) -> None:
        click.echo(as_text(row), err=told)

    rows = run(cases, file, quick, show, scratch=scratch)
    if as_json:
        click.echo(dumps(rows))
    if markdown:
        click.echo(as_markdown(rows), nl=False)
    if into is not None:
        put_table(into, rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command on these arguments; errors of the bench are raised."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    result = bench.main(args=given, prog_name="dangol bench", standalone_mode=False)
    return result if isinstance(result, int) else 0
