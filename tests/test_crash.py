"""Whatever moment the process dies at, and whatever the disk refuses: nothing acknowledged is lost or doubled."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from dangol.adapters import local, local_history
from dangol.engine import Engine
from dangol.errors import StoreFailed
from dangol.testing.faults import Crash, DiskFull, Faults, Fuse, installed
from dangol.verify import verify
from kills import send_and_kill
from oracle import Line, by_the_book, chunks, engine_on, ingest, law_4_holds, ndjson, some_shop, states_of

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


# Every few calls in the default suite; the slow variant takes each one.
EACH = pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.slow)])


@EACH
@pytest.mark.parametrize("after", [False, True], ids=["before", "behind"])
def test_dying_at_any_call_loses_and_doubles_nothing(tmp_path: Path, step: int, after: bool) -> None:
    calls = count_calls(tmp_path / "clean")
    assert calls > 100
    died = [dead_at(tmp_path / str(at), Fuse(at, after=after)) for at in range(after, calls, step)]
    assert sum(died) > len(died) // 2


def test_an_interrupt_right_behind_the_commit_does_no_harm_to_the_next_one(tmp_path: Path) -> None:
    """Ctrl-C may come between the database's COMMIT and the moment the program knows of it."""
    with installed(Interrupt()) as interrupt, engine_on(tmp_path) as engine:
        for body in BATCHES[:3]:
            ingest(engine, body)
        interrupt.armed = True
        with pytest.raises(KeyboardInterrupt):
            ingest(engine, BATCHES[3])
        for body in BATCHES[3:]:
            ingest(engine, body)
    assert states_of(tmp_path) == by_the_book(LINES)
    assert verify(tmp_path).differences == []


class Interrupt(Faults):
    armed = False

    def call(self, name, what, *arguments, **options):
        result = what(*arguments, **options)
        if self.armed and name == "execute" and arguments[0] == "COMMIT":
            self.armed = False
            raise KeyboardInterrupt
        return result


@EACH
def test_a_disk_that_fills_up_at_any_call_loses_nothing_acknowledged(tmp_path: Path, step: int) -> None:
    calls = count_calls(tmp_path / "clean")
    for at in range(calls // 8, calls, step):
        disk = DiskFull(at)
        with installed(disk), contextlib.ExitStack() as stack:
            disk.full = False
            engine = stack.enter_context(engine_on(tmp_path / str(at)))
            disk.full = True
            refused = 0
            for body in BATCHES:
                try:
                    ingest(engine, body)
                except StoreFailed as error:
                    refused += 1
                    assert "nothing was acknowledged" in str(error)
                    disk.full = False
                    assert verify(tmp_path / str(at)).differences == []
                    assert ingest(engine, body).duplicates == 0
            assert refused <= 1
            assert engine.view.counters()["events"] == 13 * len(BATCHES)
        assert states_of(tmp_path / str(at)) == by_the_book(LINES)
        assert verify(tmp_path / str(at)).equal


def test_a_sender_is_told_of_a_full_disk_and_served_again_when_there_is_room(tmp_path: Path) -> None:
    disk = DiskFull(0)
    disk.full = False
    with installed(disk), engine_on(tmp_path) as engine:
        engine.start()
        assert engine.submit(BATCHES[0]).result(20).events == 13
        disk.full = True
        for body in BATCHES[1:]:
            with pytest.raises(StoreFailed, match="make room"):
                engine.submit(body).result(20)
        disk.full = False
        assert sum(engine.submit(body).result(20).duplicates for body in BATCHES[1:]) == 0
        engine.stop()
    assert states_of(tmp_path) == by_the_book(LINES)


def test_a_line_log_on_a_real_full_disk_is_a_failed_commit(tmp_path: Path) -> None:
    lines = [Line("e", "a", "P" * 1000, "1", 0, 1, 1)]
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with engine_on(tmp_path) as engine, full.open("r+b", buffering=0) as file:
        log = engine.pipeline.store.log
        real, log._file = log._file, file.fileno()
        with pytest.raises(StoreFailed, match="No space left"):
            ingest(engine, ndjson(lines))
        log._file = real
        assert ingest(engine, ndjson(lines)).accepted == 1


@pytest.mark.parametrize("kills", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_kill_9_at_random_moments_loses_and_doubles_nothing(tmp_path: Path, kills: int) -> None:
    lines = some_shop(500 * kills, customers=25 * kills, days=600)
    parts = chunks(lines, 50)
    lost = send_and_kill(
        tmp_path, [ndjson(part) for part in parts], [len(p) for p in parts], kills=kills, seed=kills
    )
    assert lost == kills
    assert states_of(tmp_path) == by_the_book(lines)
    assert verify(tmp_path).differences == []
