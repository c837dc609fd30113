"""Other engines doing the same job on the same file, each in the environment that `make bench-peers` makes.

The job: JSON lines -> each customer's recency, frequency, monetary -> the four densities. It is less than
dangol does: no cleanse rules, no matched cancellations, no raw lines, no changes, so the figures are kind.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dangol.bench.child import JobFailed, answer_of
from dangol.core.model_card import starting_model, to_json

__all__ = ["PEERS", "Peer", "run_peer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A peer: its script in benchmarks/peers, and how much better dangol must do per CPU-second."""

    name: str
    script: str
    package: str
    minimum: float
    aim: float | None = None
    options: tuple[str, ...] = ()


PEERS = (
    Peer(
        name="Bytewax 0.21, grouped before it, snapshots each second",
        script="bytewax_job.py",
        package="bytewax",
        minimum=2,
        aim=4,
    ),
    Peer(
        name="Bytewax 0.21, a message a line, snapshots each second",
        script="bytewax_job.py",
        package="bytewax",
        minimum=2,
        aim=4,
        options=("lines",),
    ),
    Peer(name="Pathway 0.33", script="pathway_job.py", package="pathway", minimum=4),
    Peer(name="Spark 4, streaming aggregation", script="spark_job.py", package="pyspark", minimum=15),
)


def run_peer(peer: Peer, file: Path, limit: dict[str, Any], root: Path | None = None) -> dict[str, Any] | str:
    """Return the peer's figures, or in words why there are none; `limit`: what DuckDB made of that file.

    Raises JobFailed when its customers, invoices or money are not those of `limit`.
    """
    root = root or Path(__file__).parents[3]
    python, script = root / ".bench-peers" / "bin" / "python", root / "benchmarks" / "peers" / peer.script
    if not python.exists():
        return "not installed: `make bench-peers` in a checkout installs it"
    if not any(root.glob(f".bench-peers/lib/python*/site-packages/{peer.package}")):
        return f"{peer.package} is not in .bench-peers: skipped"
    with tempfile.TemporaryDirectory(prefix="dangol-peer-") as folder:
        card = Path(folder) / "model.json"
        card.write_text(to_json(starting_model()), encoding="utf-8")
        answer = answer_of(peer.name, [str(python), str(script), str(file), str(card), folder, *peer.options])
    for name in ("customers", "frequency", "monetary"):
        if answer[name] != limit[name]:
            message = f"{peer.name} found {name} {answer[name]}, DuckDB {limit[name]}: {json.dumps(answer)}"
            raise JobFailed(message)
    return answer
