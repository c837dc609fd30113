"""`dangol data`: fetch the real data, or generate a shop."""

from __future__ import annotations

from pathlib import Path

import click

from dangol.errors import StoreFailed, UsageError
from dangol.serve.cli.app import Interrupted, common, settings_of

__all__ = ["data", "fetch_with_bars"]


@click.group()
def data() -> None:
    """Fetch the real data, or generate a shop."""


@data.command()
@common
def fetch(data: Path | None, as_json: bool) -> None:
    """Fetch UCI Online Retail (541,909 lines, CC BY 4.0) once, check it, and keep it in the cache folder."""
    from dangol.serve.terminal import emit, show

    try:
        path = fetch_with_bars(settings_of(data).cache)
    except KeyboardInterrupt as stop:
        message = "interrupted: what has come is kept; run the same command again to go on from there"
        raise Interrupted(message) from stop
    if as_json:
        emit({"file": str(path), "bytes": path.stat().st_size})
    else:
        show(f"The data is at {path}.", f"Next: dangol load {path}")


def fetch_with_bars(cache: Path, *, timeout: float | None = None) -> Path:
    """Fetch the real data, with bars; `timeout` is in seconds without a byte."""
    import httpx

    from dangol.adapters.uci import fetch_online_retail
    from dangol.serve.terminal import progress_bars

    client = None if timeout is None else httpx.Client(timeout=timeout, follow_redirects=True)
    try:
        with progress_bars() as bar:
            fetching, reading = bar("Fetching", "bytes"), bar("Reading", "rows")
            return fetch_online_retail(cache, progress=fetching, converting=reading, client=client)
    finally:
        if client is not None:
            client.close()


@data.command()
@common
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE",
              help="Ends in .parquet, .csv, .ndjson or .jsonl.")  # fmt: skip
@click.option(
    "--customers", default=4000, show_default=True, type=click.IntRange(1), help="How many who may buy."
)
@click.option("--lines", default=500_000, show_default=True, type=click.IntRange(1), help="Exactly so many.")
@click.option(
    "--seed",
    default=1,
    show_default=True,
    type=click.IntRange(0, 2**31 - 1),
    help="The same seed, the same shop.",
)
@click.option(
    "--days", default=373, show_default=True, type=click.IntRange(1), help="From the first day to the last."
)
@click.option("--start", default="2010-12-01", show_default=True, metavar="DATE", help="The first day.")
def generate(
    data: Path | None, as_json: bool, out: Path, customers: int, lines: int, seed: int, days: int, start: str
) -> None:
    """Write a generated shop to FILE, and the true behaviour group of each customer beside it."""
    from dangol.serve.terminal import counted, emit, show
    from dangol.testing.shop import Shop, write_shop

    if not out.parent.is_dir():
        message = f"{out} cannot be made, for there is no folder {out.parent}: name one that is there"
        raise UsageError(message)
    try:
        truth = write_shop(out, Shop(customers=customers, lines=lines, seed=seed, days=days, start=start))
    except OSError as error:
        message = f"{out} cannot be written ({error.strerror or error}): make room, or name another place with --out"
        raise StoreFailed(message) from error
    if as_json:
        emit({"lines": lines, "customers": customers, "seed": seed, "out": str(out), "truth": str(truth)})
    else:
        show(f"Wrote {counted(lines, 'line')} to {out}; the true groups are in {truth}.")
