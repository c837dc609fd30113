"""The cases about a running engine: http-ndjson, latency, start and micro."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dangol.bench import jobs, oracle
from dangol.bench.child import JobFailed, run_job, serving
from dangol.bench.inputs import Inputs
from dangol.bench.rows import Row
from dangol.bench.sending import flood, trickle
from dangol.bench.serving import bare, serve

__all__ = ["http_ndjson", "latency", "micro", "start"]

_LATENCY_TARGETS = {1000: (20.0, 5.0), 20_000: (100.0, None)}


def http_ndjson(inputs: Inputs) -> Iterator[Row]:
    """Count the lines a second that one client gets acknowledged, beside a server that only reads them."""
    sizes, file = inputs.sizes, inputs.ndjson(1)
    for body_lines in sizes.http_bodies:
        sent = {
            "file": file,
            "lines": sizes.http_lines,
            "body_lines": body_lines,
            "connections": sizes.connections,
        }
        folder = inputs.data_folder("http")
        with serving(serve, folder=folder) as server:
            own = run_job(flood, url=server.url, **sent)
        accounted = own["accepted"] + own["anonymous"] + own["rejected"] + own["duplicates"]
        if accounted != own["lines"]:
            message = f"{own['lines']} lines were sent over HTTP and {accounted} answered for"
            raise JobFailed(message)
        kept = _first_lines(file, own["lines"], inputs.folder / f"http-{body_lines}.ndjson")
        equal = run_job(oracle.check, file=kept, folder=folder)
        shutil.rmtree(folder)
        with serving(bare) as other:
            limit = run_job(flood, url=other.url, **sent)
        yield Row(
            case="http-ndjson",
            what=f"acknowledged lines a second, {body_lines:,} lines a body",
            value=own["lines_per_second"],
            unit="lines/s",
            limit="a server that answers 204",
            limit_value=limit["lines_per_second"],
            minimum=100_000,
            aim=250_000,
            note=f"{sizes.connections} connections; {equal['customers']:,} customers equal to the oracle",
        )
        yield Row(
            case="http-ndjson",
            what=f"peak of the server's resident memory, {body_lines:,} lines a body",
            value=server.figures["peak_rss_mb"],
            unit="MB",
            limit="a server that answers 204",
            limit_value=other.figures["peak_rss_mb"],
        )


def _first_lines(file: Path, lines: int, out: Path) -> Path:
    with file.open("rb") as source, out.open("wb") as target:
        for _ in range(lines):
            target.write(source.readline())
    return out


def latency(inputs: Inputs) -> Iterator[Row]:
    """Measure delays from a body's moment on the timetable to its acknowledgement, and to being readable."""
    sizes = inputs.sizes
    for rate in sizes.rates:
        needed = rate * sizes.latency_seconds
        file = inputs.ndjson(max(1, -(-int(needed) // sizes.generated_lines)))
        folder, kept = inputs.data_folder("latency"), inputs.folder / f"latency-{rate}.ndjson"
        timetable = {"seconds": sizes.latency_seconds, "bodies_per_second": sizes.bodies_per_second}
        with serving(serve, folder=folder) as server:
            told = run_job(trickle, url=server.url, file=file, kept=kept, rate=rate, **timetable)
        run_job(oracle.check, file=kept, folder=folder)
        shutil.rmtree(folder)
        minimum, aim = _LATENCY_TARGETS.get(rate, (None, None))
        note = f"{told['sent']:,} lines sent on time, the sender at most {told['late_ms']:.1f} ms late"
        for name, key in (("acknowledged", "acknowledged_ms"), ("readable", "readable_ms")):
            delays = told[key]
            for part, value in (("p50", _quantile(delays, 0.5)), ("max", max(delays))):
                what = f"{rate:,} lines/s: {name}, {part}"
                yield Row(case="latency", what=what, value=value, unit="ms")
            yield Row(
                case="latency",
                what=f"{rate:,} lines/s: {name}, p99",
                value=_quantile(delays, 0.99),
                unit="ms",
                minimum=minimum,
                aim=aim,
                lower=True,
                note=note,
            )


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def start(inputs: Inputs) -> Iterator[Row]:
    """Measure cold starts with a warm compiler cache: the version, one customer, the first durable line."""
    folder = inputs.data_folder("start")
    run_job(jobs.load, file=inputs.parquet(), folder=folder)
    line = jobs.bodies_of(inputs.ndjson(1), 1, 1)[0].decode()
    customer = _some_customer(inputs.ndjson(1))
    commands = {
        "`dangol --version`": ["--version"],
        "`dangol customers ID` on the loaded folder": ["customers", customer, "--data", str(folder)],
    }
    for what, arguments in commands.items():
        seconds = [_command(arguments) for _ in range(inputs.sizes.repeats)]
        yield Row(case="start", what=what, value=statistics.median(seconds), unit="s", note=_best(seconds))
    for what, name in (("a new folder", "fresh"), ("the loaded folder", "")):
        seconds = []
        for _ in range(inputs.sizes.repeats):
            target = inputs.data_folder(name) if name else folder
            begin = time.time()
            seconds.append(run_job(jobs.first_commit, folder=target, line=line)["at"] - begin)
        what = f"process start to the first commit, {what}"
        yield Row(case="start", what=what, value=statistics.median(seconds), unit="s", note=_best(seconds))
    shutil.rmtree(folder)


def _best(seconds: Sequence[float]) -> str:
    return f"median of {len(seconds)}, best {min(seconds):.2f}"


def _command(arguments: Sequence[str]) -> float:
    begin = time.perf_counter()
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "dangol", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        message = f"dangol {' '.join(arguments)} failed: {done.stderr.strip()[-300:]}"
        raise JobFailed(message)
    return time.perf_counter() - begin


def _some_customer(file: Path) -> str:
    with file.open("rb") as source:
        for text in source:
            line: dict[str, Any] = json.loads(text)
            if line["CustomerID"] and (line["UnitPrice"] or 0) > 0 and (line["Quantity"] or 0) > 0:
                return str(line["CustomerID"])
    message = f"{file} has no line with a customer"
    raise JobFailed(message)


def micro(inputs: Inputs) -> Iterator[Row]:
    """Measure steps by themselves: scoring, the next change by time, and commits of several sizes."""
    sizes = inputs.sizes
    scored = run_job(jobs.score_micro, customers=sizes.score_customers)
    if scored["agree"] != sizes.score_customers:
        message = f"score and next change disagree on {sizes.score_customers - scored['agree']} customers"
        raise JobFailed(message)
    for name, what in (("score", "score"), ("next_change", "segment and next change")):
        figures = scored[name]
        rate = figures["lines_per_cpu_second"]
        note = f"{figures['lines']:,} customers"
        yield Row(case="micro", what=f"{what}, customers a CPU-second", value=rate, unit="1/CPU-s", note=note)
    file = inputs.ndjson(1)
    for lines in sizes.commit_lines:
        wanted = {"file": file, "lines": lines, "commits": sizes.commits}
        own = run_job(jobs.commit_micro, folder=inputs.data_folder("micro"), **wanted)["seconds"]
        bare_sync = run_job(jobs.sync_micro, out=inputs.folder / "sync", **wanted)["seconds"]
        for part, share in (("p50", 0.5), ("p99", 0.99)):
            yield Row(
                case="micro",
                what=f"{lines:,} lines, bytes to durable, {part}",
                value=1e3 * _quantile(own, share),
                unit="ms",
                limit="the same bytes appended and synced",
                limit_value=1e3 * _quantile(bare_sync, share),
                note=f"{len(own)} commits",
            )
