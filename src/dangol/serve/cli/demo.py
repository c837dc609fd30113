"""`dangol demo`: a year of a shop, played live into the engine, with the page beside it."""

from __future__ import annotations

import contextlib
import logging
import socket
import tempfile
import threading
import time
import webbrowser
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from dangol.config import Settings
    from dangol.engine import Engine
    from dangol.serve.cli.demo_source import DemoSource

__all__ = ["demo"]

LINES_PER_SECOND = 7500.0
"""Plays the real data in about 72 seconds."""
LOOK_SECONDS = 0.25
CHANGES_SHOWN = 6
PORTS_TRIED = 50


class DemoFailed(DangolError):
    """The simulator gave up."""


@click.command()
@common
@engine_options
@click.option(
    "--file", type=click.Path(path_type=Path), metavar="FILE", help="Play this file (default: the real data)."
)
@click.option("--rate", type=float, help=f"Lines a second (default: {LINES_PER_SECOND:,.0f}).")
@click.option(
    "--speed", type=float, help="Multiple of the shop's own time in place of a rate, such as 400000."
)
@click.option(
    "--exit-when-done", is_flag=True, help="End with the summary; else the page stays until Ctrl-C."
)
@click.option("--no-browser", is_flag=True, help="Do not open the page.")
@click.option("--host", help="Address to listen on (default: 127.0.0.1).")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port to listen on (default: 8787, or the next free one)."
)
def demo(
    data: Path | None, as_json: bool, rules: Path | None, clock: str | None, file: Path | None,
    rate: float | None, speed: float | None, exit_when_done: bool, no_browser: bool, host: str | None,
    port: int | None,
) -> None:  # fmt: skip
    """Play a year of a real shop into the engine in about 72 seconds, live in the terminal and on a page.

    Plays UCI Online Retail if it is here or can be fetched, else a generated shop. Without --data it uses a
    folder that is deleted at the end.
    """
    if rate is not None and speed is not None:
        message = "give --rate or --speed, not both"
        raise UsageError(message)
    need_above_zero("--rate", rate)
    need_above_zero("--speed", speed)
    order = {"speed": speed} if speed is not None else {"rate": rate or LINES_PER_SECOND}
    with _folder(data) as folder:
        settings = _for_demo(settings_of(folder, rules=rules, clock=clock, host=host, port=port))
        try:
            _run(settings, order, file, as_json=as_json, browser=not no_browser, stay=not exit_when_done)
        except KeyboardInterrupt as stop:
            kept = (
                "its folder is deleted" if data is None else f"what was acknowledged is durable in {folder}"
            )
            message = f"interrupted before the end: {kept}; `dangol demo` starts it again"
            raise Interrupted(message) from stop


def _for_demo(settings: Settings) -> Settings:
    from dataclasses import replace

    from dangol.serve.cli.runs import FIRST_FIT

    return replace(
        settings,
        port=_free_port(settings.host, settings.port),
        auto_fit_customers=settings.auto_fit_customers or FIRST_FIT,
    )


@contextlib.contextmanager
def _folder(data: Path | None) -> Iterator[Path]:
    if data is not None:
        yield data
        return
    with tempfile.TemporaryDirectory(prefix="dangol-demo-", ignore_cleanup_errors=True) as folder:
        say(f"Data folder: {folder}, deleted at the end (keep one with --data DIR).")
        yield Path(folder)


def _free_port(host: str, port: int) -> int:
    """Return `port`, or the next one that nobody listens on."""
    for candidate in range(port, min(port + PORTS_TRIED, 65536) if port else 1):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
            except OSError:
                continue
        if candidate != port:
            say(f"Port {port} is taken; using {candidate}.")
        return candidate
    return port


def _run(
    settings: Settings,
    order: Mapping[str, float],
    file: Path | None,
    *,
    as_json: bool,
    browser: bool,
    stay: bool,
) -> None:
    load_kernels()
    from dangol.serve.cli.demo_source import find_source
    from dangol.serve.server import running

    logging.getLogger("httpx").setLevel(logging.WARNING)
    source = find_source(file, settings.cache, Path.cwd())
    say(f"Playing {source.words}.")
    with engine_on(settings) as engine:
        engine.start()
        with running(
            engine, settings.host, settings.port, settings=settings, simulator_file=source.path
        ) as url:
            say(f"Page: {url}")
            if browser:
                _open_page(url)
            report = _play(engine, url, source, order)
            _show_end(engine, report, as_json)
            if stay:
                say(f"The page stays at {url}; Ctrl-C ends.")
                with contextlib.suppress(KeyboardInterrupt):
                    threading.Event().wait()


def _open_page(url: str) -> None:
    """Open a browser with a window; one that would take the terminal stays closed."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return
    if type(browser) is not webbrowser.GenericBrowser:
        threading.Thread(target=browser.open, args=(url,), daemon=True).start()


def _play(engine: Engine, url: str, source: DemoSource, order: Mapping[str, float]) -> dict[str, Any]:
    """Let the server's simulator play to the end, showing how it goes; return the report of the run."""
    import httpx

    from dangol.serve.cli.demo_screen import Moment, show_while
    from dangol.serve.cli.runs import run_report
    from dangol.serve.sources import GENERATED
    from dangol.serve.status import status_json

    key = engine.settings.api_key
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    before = engine.view.counters()
    with httpx.Client(base_url=url, timeout=30, headers=headers, trust_env=False) as client:
        name = source.path.name if source.path else GENERATED
        client.post("/v1/simulator/start", json={"file": name, **order}).raise_for_status()
        started = time.monotonic()
        with show_while(url, source.lines) as screen:
            while (simulator := client.get("/v1/simulator").json())["state"] in ("running", "paused"):
                last = engine.view.last_change()
                changes = engine.view.changes(after=max(0, last - CHANGES_SHOWN), limit=CHANGES_SHOWN)
                seconds = time.monotonic() - started
                screen.show(
                    Moment(status=status_json(engine), simulator=simulator, changes=changes, seconds=seconds)
                )
                time.sleep(LOOK_SECONDS)
    if simulator["error"]:
        message = f"the simulator gave up after {simulator['acknowledged']:,} lines: {simulator['error']}"
        raise DemoFailed(message)
    return run_report(_since(before, engine.view.counters()), engine.status(), time.monotonic() - started)


def _since(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counts of the run alone."""
    old = before["rejected"]
    rejected = {reason: count - old.get(reason, 0) for reason, count in after["rejected"].items()}
    counts = {name: after[name] - before[name] for name in ("events", "accepted", "anonymous", "duplicates")}
    counts["rejected"] = {reason: count for reason, count in rejected.items() if count}
    return {name: counts[name] for name in ("events", "accepted", "anonymous", "rejected", "duplicates")}


def _show_end(engine: Engine, report: Mapping[str, Any], as_json: bool) -> None:
    from dangol.serve.cli.runs import in_words
    from dangol.serve.terminal import counted, counts_table, emit, segments_table, show

    if as_json:
        return emit(report)
    moved = f"{counted(engine.view.last_change(), 'time')} a customer changed segment."
    return show(
        "", counts_table(report), "", segments_table(engine.view.segments()), "", in_words(report), moved
    )
