"""The cases about files: load-parquet, load-ndjson, memory and scale. Each checks its final states."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dangol.bench import jobs, oracle
from dangol.bench.child import JobFailed, run_job
from dangol.bench.inputs import Inputs
from dangol.bench.peers import PEERS, run_peer
from dangol.bench.rows import Row
from dangol.core.model_card import starting_model, to_json

__all__ = ["load_ndjson", "load_parquet", "memory", "scale"]


def _load(inputs: Inputs, file: Path) -> dict[str, Any]:
    """Load a file into a fresh data folder in a fresh process, and check the states against the oracle."""
    folder = inputs.data_folder("load")
    begin = time.perf_counter()
    figures = run_job(jobs.load, file=file, folder=folder)
    figures["process_seconds"] = time.perf_counter() - begin
    figures |= run_job(oracle.check, file=file, folder=folder)
    shutil.rmtree(folder)
    return figures


def load_parquet(inputs: Inputs) -> Iterator[Row]:
    """Load the whole file, beside reading it with pyarrow and writing the same rows synced."""
    file = inputs.parquet()
    own = _load(inputs, file)
    limit = run_job(jobs.copy_synced, file=file, out=inputs.folder / "copy.arrows")
    note = f"{own['lines']:,} lines, {own['customers']:,} customers equal to the batch oracle"
    case = "load-parquet"
    name = "pyarrow reads, writes synced"
    yield Row(
        case=case,
        what="lines a second",
        value=own["lines_per_second"],
        unit="lines/s",
        limit=name,
        limit_value=limit["lines_per_second"],
        minimum=300_000,
        aim=600_000,
        note=note,
    )
    yield Row(
        case=case,
        what="lines a CPU-second",
        value=own["lines_per_cpu_second"],
        unit="lines/CPU-s",
        limit=name,
        limit_value=limit["lines_per_cpu_second"],
    )
    yield Row(
        case=case, what="time of the load", value=own["wall"], unit="s", limit=name, limit_value=limit["wall"]
    )
    yield Row(case=case, what="CPU time of the load", value=own["cpu"], unit="CPU-s")
    whole = own["process_seconds"]
    yield Row(case=case, what="time of the whole process, start to exit", value=whole, unit="s")


def load_ndjson(inputs: Inputs) -> Iterator[Row]:
    """Replay a file of JSON lines: lines a CPU-second, beside DuckDB's one-shot query and the peers."""
    file = inputs.ndjson(inputs.sizes.copies)
    own = _load(inputs, file)
    limit = run_job(jobs.duckdb_once, file=file, card=to_json(starting_model()))
    case, what = "load-ndjson", "lines a CPU-second"
    rate = own["lines_per_cpu_second"]
    note = f"{own['lines']:,} lines, {own['customers']:,} customers equal to the batch oracle"
    yield Row(
        case=case,
        what=what,
        value=rate,
        unit="lines/CPU-s",
        limit="DuckDB, one query",
        limit_value=limit["lines_per_cpu_second"],
        minimum=1 / 3,
        aim=1,
        of_ratio=True,
        note=note,
    )
    yield Row(
        case=case,
        what="lines a second",
        value=own["lines_per_second"],
        unit="lines/s",
        limit="DuckDB, one query",
        limit_value=limit["lines_per_second"],
    )
    for peer in PEERS:
        found = run_peer(peer, file, limit)
        missing = isinstance(found, str)
        yield Row(
            case=case,
            what=what,
            value=rate,
            unit="lines/CPU-s",
            limit=peer.name,
            limit_value=None if isinstance(found, str) else found["lines_per_cpu_second"],
            minimum=peer.minimum,
            aim=peer.aim,
            of_ratio=True,
            note=f"{peer.name}: {found}" if missing else "the same customers, invoices and money as DuckDB",
        )


def memory(inputs: Inputs) -> Iterator[Row]:
    """Measure the peak of memory for the whole file, and its growth with the same customers' history."""
    own = _load(inputs, inputs.parquet())
    what = "peak of resident memory, code and mapped files included"
    yield Row(case="memory", what=what, value=own["peak_rss_mb"], unit="MB", minimum=400, lower=True)
    yield Row(case="memory", what="peak of private memory", value=own["peak_anon_mb"], unit="MB")
    sizes = inputs.sizes
    customers = max(20, sizes.growth_lines // 60)
    short, long = (
        _load(inputs, inputs.shop(customers=customers, lines=sizes.growth_lines * times))
        for times in (1, sizes.growth_times)
    )
    yield Row(
        case="memory",
        what=f"private memory with {sizes.growth_times} times the history",
        value=long["peak_anon_mb"],
        unit="MB",
        limit="once the history",
        limit_value=short["peak_anon_mb"],
        minimum=1.5,
        lower=True,
        of_ratio=True,
        note=f"{customers:,} customers, {short['lines']:,} and {long['lines']:,} lines",
    )


def scale(inputs: Inputs) -> Iterator[Row]:
    """Compare the rate at many lines and customers with that at few; the lines are generated beforehand."""
    sizes = inputs.sizes
    figures = []
    for customers, lines in zip(sizes.scale_customers, sizes.scale_lines, strict=True):
        file = inputs.shop(customers=customers, lines=lines)
        figures.append(_load(inputs, file))
        file.unlink()
    small, large = figures
    if large["lines"] != sizes.scale_lines[1]:
        message = (
            f"{large['lines']:,} lines were loaded instead of {sizes.scale_lines[1]:,}: {json.dumps(large)}"
        )
        raise JobFailed(message)
    yield Row(
        case="scale",
        what=f"lines a second at {large['lines']:,} lines",
        value=large["lines_per_second"],
        unit="lines/s",
        limit=f"at {small['lines']:,} lines",
        limit_value=small["lines_per_second"],
        minimum=0.6,
        of_ratio=True,
        note=f"{large['customers']:,} and {small['customers']:,} customers, equal to the batch oracle",
    )
    yield Row(
        case="scale",
        what=f"lines a CPU-second at {large['lines']:,} lines",
        value=large["lines_per_cpu_second"],
        unit="lines/CPU-s",
        limit=f"at {small['lines']:,} lines",
        limit_value=small["lines_per_cpu_second"],
    )
    yield Row(case="scale", what="peak of resident memory", value=large["peak_rss_mb"], unit="MB")
    yield Row(case="scale", what="peak of private memory", value=large["peak_anon_mb"], unit="MB")
