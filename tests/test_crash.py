"""Whatever moment the process dies at, and whatever the disk refuses: nothing acknowledged is lost or doubled."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from oracle import Line, by_the_book, chunks, engine_on, ingest, law_4_holds, ndjson, some_shop, states_of

from dangol.adapters import local, local_history
from dangol.engine import Engine
from dangol.errors import StoreFailed
from dangol.testing.faults import Crash, DiskFull, Faults, Fuse, installed
from dangol.verify import verify

LINES = some_shop(60, customers=6, days=400)
BATCHES = [ndjson(batch) + b"rubbish %d\n" % place for place, batch in enumerate(chunks(LINES, 12))]


@pytest.fixture(autouse=True)
def flush_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_history, "FLUSH_ROWS", 20)
    monkeypatch.setattr(local, "_SNAPSHOT_FLOOR", 1500)


@contextlib.contextmanager
def dying(folder: Path) -> Iterator[Engine]:
    """An engine that is let go of as a dead process lets go: nothing is finished, only the lock is free."""
    engine = engine_on(folder)
    try:
        yield engine
    finally:
        engine.pipeline.history.close()
        engine.view.close()
        engine.pipeline.store._lock.close()
        engine.pipeline.store.log.close()


def feed(folder: Path) -> tuple[int, bool]:
    """Send all batches until the process dies; return how many were acknowledged, and whether it died."""
    acknowledged = 0
    try:
        with dying(folder) as engine:
            for body in BATCHES:
                ingest(engine, body)
                acknowledged += 1
    except Crash:
        return acknowledged, True
    return acknowledged, False


def dead_at(folder: Path, fuse: Fuse) -> bool:
    with installed(fuse):
        acknowledged, died = feed(folder)
    gc.collect()
    with engine_on(folder) as engine:
        counters = engine.view.counters()
        assert law_4_holds(counters)
        assert counters["events"] in (13 * acknowledged, 13 * (acknowledged + 1))
        assert verify(folder).differences == []
        for body in BATCHES[acknowledged:]:
            ingest(engine, body)
        counters = engine.view.counters()
        assert counters["accepted"] + counters["anonymous"] == len(LINES)
        assert counters["rejected"] == {"not_json": len(BATCHES)}
    assert states_of(folder) == by_the_book(LINES)
    assert verify(folder).equal
    return died


def count_calls(folder: Path) -> int:
    with installed(Faults()) as faults:
        feed(folder)
    return faults.calls


@pytest.mark.parametrize("after", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("part", range(4))
def test_dying_at_any_call_loses_and_doubles_nothing(tmp_path: Path, part: int, after: bool) -> None:
    calls = count_calls(tmp_path / "clean")
    assert calls > 100
    died = [dead_at(tmp_path / str(at), Fuse(at, after=after)) for at in range(part, calls, 4 * STRIDE)]
    assert sum(died) > len(died) // 2


STRIDE = 3
"""Every third call in the default suite; the slow variant takes each."""
