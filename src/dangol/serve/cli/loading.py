"""`dangol load`: bring files in as fast as they can be read and committed."""

from __future__ import annotations

import io
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, cast

import click

from dangol.errors import StoreFailed
from dangol.serve.cli.app import Interrupted, common, engine_on, engine_options, load_kernels, settings_of

if TYPE_CHECKING:
    from dangol.core.schema import LineBlock
    from dangol.engine import Engine
    from dangol.ports import Source
    from dangol.serve.cli.runs import RunCounts

__all__ = ["load"]

POLL_SECONDS = 0.2


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@common
@engine_options
@click.option("--encoding", default="utf-8", show_default=True, help="Of CSV files; also latin-1, cp949 ...")
@click.option("--no-fit", is_flag=True, help="Leave the starting model live.")
def load(
    files: tuple[str, ...], data: Path | None, as_json: bool, rules: Path | None, clock: str | None,
    encoding: str, no_fit: bool,
) -> None:  # fmt: skip
    """Bring in FILE (parquet, csv, xlsx, NDJSON; `-`: NDJSON from standard input). Fires no notification.

    A load that was cut off goes on where it stopped; lines that are there already count as duplicates.
    Ends by fitting a first model, if at least 200 customers have a live invoice.
    """
    from dangol.serve.cli.runs import RunCounts, first_fit, in_words, run_report
    from dangol.serve.terminal import counts_table, emit, segments_table, show

    load_kernels()
    settings = settings_of(data, rules=rules, clock=clock)
    sources = [(name, _source(name, encoding)) for name in files]
    counts = RunCounts()
    with engine_on(settings) as engine:
        started = time.perf_counter()
        for name, source in sources:
            _load_one(engine, source, name, counts)
        seconds = time.perf_counter() - started
        if not no_fit:
            first_fit(engine)
        report = run_report(counts.as_dict(), engine.status(), seconds)
        table = segments_table(engine.view.segments())
    if as_json:
        emit(report)
    else:
        show(counts_table(report), "", table, "", in_words(report))


def _load_one(engine: Engine, source: Source, name: str, counts: RunCounts) -> None:
    from dangol.receipt import Receipt
    from dangol.serve.terminal import counted, progress_bars

    with progress_bars() as bar:
        advance = bar(f"Loading {Path(name).name}", getattr(source, "unit", "bytes"))

        def committed(receipt: Receipt) -> None:
            counts.add(receipt)
            advance(getattr(source, "done", 0), getattr(source, "total", None))

        try:
            engine.load(source, on_commit=committed)
        except KeyboardInterrupt as stop:
            message = (
                f"interrupted: {counted(counts.events, 'line is', 'lines are')} durable in {engine.settings.data}; "
                f"run the same command again to go on from there"
            )
            raise Interrupted(message) from stop
        except StoreFailed as error:
            message = (
                f"{error}. {counted(counts.events, 'line', 'lines')} of this load before it are durable in "
                f"{engine.settings.data}; run the same command again to go on from there"
            )
            raise StoreFailed(message) from error


def _source(name: str, encoding: str) -> Source:
    from dangol.adapters.files import open_source

    if name != "-":
        return open_source(Path(name), encoding=encoding)
    standard_input = _StandardInput()
    standard_input.stop_at_interrupt()
    return standard_input


class _StandardInput:
    """NDJSON from a pipe: what has come is committed without waiting for more. It cannot be read again."""

    name = "stdin"
    unit = "bytes"
    total = None

    def __init__(self) -> None:
        self.done = 0
        self._stopped = False

    def stop_at_interrupt(self) -> None:
        """Let Ctrl-C end the thread that waits for more, too; the main thread alone is told of it."""

        def stop(_number: int, _frame: FrameType | None) -> None:
            self._stopped = True
            raise KeyboardInterrupt

        signal.signal(signal.SIGINT, stop)

    def read(self, most: int) -> bytes:
        """Return what has come, nothing at the end."""
        while not select.select([sys.stdin], [], [], POLL_SECONDS)[0]:
            if self._stopped:
                return b""
        piece = cast("io.BufferedReader", sys.stdin.buffer).read1(most)
        self.done += len(piece)
        return piece

    def blocks(self, fields: tuple[str, ...], _after: str | None) -> Iterator[tuple[LineBlock, str]]:
        """Yield (block, bytes done)."""
        from dangol.adapters.json_lines import line_chunks
        from dangol.adapters.ndjson import parse_ndjson

        for data, at in line_chunks(self):  # type: ignore[arg-type]  # all it needs of a stream is `read`
            yield parse_ndjson(data, fields), str(at)
