"""Senders, loaders, readers and keepers at work at the same time do not disturb each other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from dangol.adapters import local, local_history
from dangol.verify import verify
from oracle import by_the_book, chunks, engine_on, ingest, law_4_holds, ndjson, some_shop, states_of


def all_at_once(*works: Callable[[], None]) -> list[BaseException]:
    """Run each work in a thread of its own; return what went wrong."""
    failures: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  (whatever it is, the test shows it)
            failures.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def test_senders_loaders_replays_and_fits_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_history, "FLUSH_ROWS", 300)
    monkeypatch.setattr(local, "_SNAPSHOT_FLOOR", 10_000)
    lines = some_shop(9_000, customers=80)
    parts = [lines[0::3], lines[1::3], lines[2::3]]
    with engine_on(tmp_path) as engine:
        engine.start()

        def send() -> None:
            for place, part in enumerate(chunks(parts[0], 20)):
                assert engine.submit(ndjson(part) + b"bad %d\n" % place).result(60).rejected == 1

        def send_many() -> None:
            waiting = [engine.submit(ndjson(part)) for part in chunks(parts[1], 10)]
            assert sum(future.result(60).events for future in waiting) == 3_000

        def bring() -> None:
            for part in chunks(parts[2], 30):
                ingest(engine, ndjson(part))

        def keep() -> None:
            for _ in range(30):
                engine.replay_rejects()
                engine.status()
                assert law_4_holds(engine.view.counters())
                engine.view.export()

        failures = all_at_once(send, send_many, bring, keep)
        engine.stop()
        assert failures == []
    assert states_of(tmp_path) == by_the_book(lines)
    assert verify(tmp_path).differences == []
