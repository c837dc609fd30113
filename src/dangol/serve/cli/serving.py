"""`dangol serve` and `dangol replay`: the server, and the traffic for one."""

from __future__ import annotations

import dataclasses
import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dangol.errors import DangolError, UsageError
from dangol.serve.cli.app import (
    Interrupted,
    common,
    engine_on,
    engine_options,
    load_kernels,
    need_above_zero,
    say,
    settings_of,
)

if TYPE_CHECKING:
    from dangol.serve.replay import ReplayProgress

__all__ = ["key_value_log", "replay", "serve"]


class NotAllSent(DangolError):
    """A replay ended before all lines were acknowledged."""


class _KeyValue(logging.Formatter):
    """Writes records as time=... level=... logger=... and the message, which is key=value itself."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        form = "time=%(asctime)s.%(msecs)03dZ level=%(levelname)s logger=%(name)s %(message)s"
        super().__init__(form, "%Y-%m-%dT%H:%M:%S")


def key_value_log(level: int) -> None:
    """Send logs to standard error as key=value."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_KeyValue())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


@click.command()
@common
@engine_options
@click.option(
    "--host", help="Address to listen on (default: 127.0.0.1); others need a key in DANGOL_API_KEY."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port to listen on (default: 8787); 0 takes a free one."
)
@click.option(
    "--simulator-file", type=click.Path(path_type=Path), metavar="FILE", help="Offered by the simulator."
)
@click.option("--auto-fit", "auto_fit_customers", type=click.IntRange(0), metavar="N",
              help="Fit a first model at N live customers, and anew at each doubling; 0 never.")  # fmt: skip
@click.option("--browser", is_flag=True, help="Open the page.")
def serve(
    data: Path | None, as_json: bool, rules: Path | None, clock: str | None, host: str | None,
    port: int | None, simulator_file: Path | None, auto_fit_customers: int | None, browser: bool,
) -> None:  # fmt: skip
    """Serve the HTTP API, the live page and the simulator until Ctrl-C.

    What was acknowledged is durable. With --json, one object with the address is written once it listens.
    """
    load_kernels()
    from dangol.serve.server import serve as run
    from dangol.serve.terminal import emit

    settings = settings_of(
        data, rules=rules, clock=clock, host=host, port=port, simulator_file=simulator_file,
        auto_fit_customers=auto_fit_customers,
    )  # fmt: skip
    if settings.simulator_file is not None and not settings.simulator_file.is_file():
        message = f"{settings.simulator_file} is no file: check the name"
        raise UsageError(message)
    key_value_log(logging.INFO)

    def ready(url: str) -> None:
        if as_json:
            emit({"url": url, "data": str(settings.data)})
        say(f"Serving {url} from {settings.data}; Ctrl-C ends.")

    with engine_on(settings) as engine:
        engine.start()
        run(
            engine, settings.host, settings.port, settings=settings, simulator_file=settings.simulator_file,
            open_browser=browser, on_ready=ready,
        )  # fmt: skip
    say("Stopped; everything acknowledged is durable.")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@common
@click.option("--to", "target", required=True, metavar="TARGET", help="Where to: http://HOST:PORT.")
@click.option("--rate", type=float, help="Lines a second.")
@click.option("--speed", type=float, help="Multiple of the file's own time; 60 plays an hour in a minute.")
@click.option(
    "--connections", default=2, show_default=True, type=click.IntRange(1, 64), help="Requests at a time."
)
def replay(
    file: Path, data: Path | None, as_json: bool, target: str, rate: float | None, speed: float | None,
    connections: int,
) -> None:  # fmt: skip
    """Send FILE to a running server, as fast as it takes it, or at --rate or --speed.

    A request that finds no answer is sent again; event ids make that safe. The server's key is read from
    DANGOL_API_KEY.
    """
    load_kernels()
    from dangol.adapters.files import open_source
    from dangol.serve.replay import replay as run
    from dangol.serve.terminal import counted, emit, progress_bars, show

    if rate is not None and speed is not None:
        message = "give --rate or --speed, not both"
        raise UsageError(message)
    need_above_zero("--rate", rate)
    need_above_zero("--speed", speed)
    source = open_source(file)
    total = source.total if source.unit == "rows" else None
    with progress_bars() as bar:
        advance = bar(f"Sending {file.name}", "lines")

        def progress(at: ReplayProgress) -> None:
            advance(at.acknowledged, total)

        result = run(
            file, target, rate=rate, speed=speed, connections=connections,
            api_key=settings_of(data).api_key or None, on_progress=progress,
        )  # fmt: skip
    if as_json:
        emit(dataclasses.asdict(result) | {"seconds": round(result.seconds, 3)})
    else:
        show(
            f"Sent {counted(result.sent, 'line')} in {result.seconds:.1f} s: {result.acknowledged:,} acknowledged "
            f"({result.accepted:,} accepted, {result.anonymous:,} anonymous, {result.rejected:,} rejected, "
            f"{counted(result.duplicates, 'duplicate')}), {result.failed:,} failed."
        )
    if result.interrupted:
        done = f"{counted(result.acknowledged, 'line is', 'lines are')} acknowledged and durable"
        message = f"interrupted: {done}; the same command sends all again, safely"
        raise Interrupted(message)
    if result.error or result.failed:
        what = f"{counted(result.failed, 'line was', 'lines were')} not acknowledged"
        message = f"{what} ({result.error}): send the file again, which is safe"
        raise NotAllSent(message)
