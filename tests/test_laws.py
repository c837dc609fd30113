"""The laws of the design, on real engines in folders of their own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dangol.adapters import local, local_history
from dangol.engine import Engine
from dangol.verify import verify
from oracle import (
    EPOCH,
    Line,
    by_the_book,
    changes_of,
    chunks,
    engine_on,
    ingest,
    law_4_holds,
    ndjson,
    some_shop,
    states_of,
)  # fmt: skip


def _examples(n: int) -> settings:
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    return settings(max_examples=n, deadline=None, suppress_health_check=checks)


@pytest.fixture(autouse=True)
def flush_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs, merges and snapshots happen in small shops."""
    monkeypatch.setattr(local_history, "FLUSH_ROWS", 3)
    monkeypatch.setattr(local, "_SNAPSHOT_FLOOR", 300)


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name) / "data"


@st.composite
def shops(draw: Any) -> list[Line]:
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["a", "b", "c", None]),
                st.integers(0, 1),  # product
                st.integers(0, 3),  # invoice
                st.integers(0, 5),  # hour: many ties
                st.integers(-4, 4).filter(bool),
                st.integers(1, 3),
                st.sampled_from(["France", "Korea", "Österreich", None]),
            ),
            max_size=24,
        )
    )
    events = draw(st.permutations([f"e{number}" for number in range(len(rows))]))
    return [
        Line(
            event, customer, f"P{product}", f"{'C' if quantity < 0 else ''}{invoice}", EPOCH + hour * 3_600_000_000,
            quantity, price * 1_250_000, country,
        )
        for event, (customer, product, invoice, hour, quantity, price, country) in zip(events, rows, strict=True)
    ]  # fmt: skip


@st.composite
def deliveries(draw: Any) -> tuple[list[Line], list[list[Line]], list[int]]:
    """A shop, its lines as they arrive (in any order, some several times), and restarts between batches."""
    lines = draw(shops())
    again = draw(st.lists(st.sampled_from(lines), max_size=8)) if lines else []
    arriving = draw(st.permutations([*lines, *again]))
    cuts = sorted(draw(st.lists(st.integers(0, len(arriving)), max_size=8)))
    batches = [arriving[a:b] for a, b in zip([0, *cuts], [*cuts, len(arriving)], strict=True)]
    return lines, batches, draw(st.lists(st.integers(0, len(batches)), max_size=3))


@_examples(40)
@given(deliveries())
def test_any_order_duplication_split_and_restart_equal_one_batch(
    delivery: tuple[list[Line], list[list[Line]], list[int]],
) -> None:
    lines, batches, restarts = delivery
    with folder() as data:
        engine = engine_on(data)
        for place, batch in enumerate(batches):
            if place in restarts:
                engine.close()
                engine = engine_on(data)
            ingest(engine, ndjson(batch))
            assert law_4_holds(engine.view.counters())
        counters = engine.view.counters()
        engine.close()
        assert states_of(data) == by_the_book(lines)
        assert counters["duplicates"] == sum(map(len, batches)) - len(lines)
        assert verify(data).differences == []


@_examples(20)
@given(shops(), st.integers(1, 5))
def test_the_log_in_another_order_gives_the_same_segments(lines: list[Line], size: int) -> None:
    results = []
    for arrival in (lines, lines[::-1]):
        with folder() as data, engine_on(data) as engine:
            for batch in chunks(arrival, size):
                ingest(engine, ndjson(batch))
            table = engine.view.export().to_pylist()
            results.append(sorted(table, key=lambda row: row["customer"]))
    assert results[0] == results[1]


def test_a_redelivered_event_changes_nothing(tmp_path: Path) -> None:
    lines = some_shop(200)
    with engine_on(tmp_path) as engine:
        ingest(engine, ndjson(lines))
        before, changes = states_of(tmp_path), changes_of(tmp_path)
        receipts = [ingest(engine, ndjson(batch)) for batch in chunks(lines[::-1], 23)]
        assert sum(receipt.duplicates for receipt in receipts) == 200
        assert (states_of(tmp_path), changes_of(tmp_path)) == (before, changes)


@pytest.mark.parametrize("together", [True, False])
def test_the_same_event_id_with_another_body_is_a_conflict(tmp_path: Path, together: bool) -> None:
    first = Line("e1", "a", "P", "1", EPOCH, 2, 1_000_000)
    second = Line("e1", "a", "P", "1", EPOCH, 3, 1_000_000)
    with engine_on(tmp_path) as engine:
        bodies = [ndjson([first, second])] if together else [ndjson([first]), ndjson([second])]
        receipt = [ingest(engine, body) for body in bodies][-1]
        assert [reject.reason for reject in receipt.rejects] == ["conflict_with_earlier_event"]
        assert engine.view.customer("a")["monetary"] == 2.0
        assert engine.view.rejects()[0]["raw"] == second.as_json().decode()


def test_a_conflict_delivered_again_is_a_duplicate(tmp_path: Path) -> None:
    lines = [Line("e1", "a", "P", "1", EPOCH, n, 1_000_000) for n in (1, 2)]
    with engine_on(tmp_path) as engine:
        ingest(engine, ndjson(lines))
        again = ingest(engine, ndjson(lines))
        assert (again.duplicates, again.rejected) == (2, 0)


def test_lines_without_an_event_id_are_known_by_what_they_say(tmp_path: Path) -> None:
    bare = (
        b'{"InvoiceNo":"1","StockCode":"P","Quantity":%d,"UnitPrice":1,'
        b'"InvoiceDate":"2011-01-01T10:00:00","CustomerID":"a"}\n'
    )
    with engine_on(tmp_path) as engine:
        receipt = ingest(engine, bare % 1 + bare % 2 + bare % 1)
        assert (receipt.accepted, receipt.duplicates) == (2, 1)
        assert ingest(engine, bare % 2).duplicates == 1


def _played(lines: list[Line], batches: list[list[Line]]) -> list[tuple[int, int, int, int, str]]:
    with folder() as data:
        with engine_on(data) as engine:
            for batch in batches:
                ingest(engine, ndjson(batch))
        assert verify(data).equal
        return changes_of(data)


def _moments(lines: list[Line]) -> list[list[Line]]:
    """The lines of one moment, together."""
    found: dict[int, list[Line]] = {}
    for line in lines:
        found.setdefault(line.at, []).append(line)
    return list(found.values())


def _batches_with_each_customer_once(lines: list[Line], most: int) -> list[list[Line]]:
    batches: list[list[Line]] = [[]]
    moments = 0
    for together in _moments(lines):
        own = {line.customer for line in together if line.customer}
        if moments == most or own & {line.customer for line in batches[-1]}:
            batches.append([])
            moments = 0
        batches[-1] += together
        moments += 1
    return batches


@pytest.mark.parametrize("seed", range(3))
def test_a_replay_cut_anywhere_between_a_customers_moments_has_the_same_changes(seed: int) -> None:
    lines = some_shop(120, seed=seed, customers=20, days=700)
    one_by_one = _played(lines, _moments(lines))
    for most in (3, 1000):
        assert sorted(_played(lines, _batches_with_each_customer_once(lines, most))) == sorted(one_by_one)
    assert {cause for *_, cause in one_by_one} == {"events", "time"}


@_examples(6)
@given(st.integers(0, 10_000), st.integers(1, 60))
def test_however_a_replay_is_cut_changes_form_chains_that_end_in_the_same_segments(
    seed: int, size: int
) -> None:
    lines = some_shop(60, seed=seed, customers=5, days=900)
    ends = []
    for batches in (_moments(lines), chunks(lines, size)):
        last: dict[int, tuple[int, int]] = {}
        for slot, before, after, at, _ in _played(lines, batches):
            segment, moment = last.get(slot, (0, 0))
            assert (before, at >= moment) == (segment, True)
            assert before != after
            last[slot] = after, at
        ends.append({slot: segment for slot, (segment, _) in last.items()})
    assert {k: v for k, v in ends[0].items() if v} == {k: v for k, v in ends[1].items() if v}


def test_states_scores_and_changes_agree_after_every_commit(tmp_path: Path) -> None:
    lines = some_shop(150, customers=25, days=800)
    with engine_on(tmp_path) as engine:
        for batch in chunks(lines, 15):
            ingest(engine, ndjson(batch))
            assert verify(tmp_path).differences == []


def test_time_alone_moves_a_customer_on_the_event_clock(tmp_path: Path) -> None:
    year = 365 * 86_400_000_000
    with engine_on(tmp_path) as engine:
        ingest(engine, ndjson([Line("1", "a", "P", "1", EPOCH, 1, 9_000_000)]))
        told = engine.view.customer("a")
        ingest(engine, ndjson([Line("2", "b", "P", "2", EPOCH + 3 * year, 1, 9_000_000)]))
        changes = engine.view.changes(customer="a")
        assert [change["cause"] for change in changes] == ["events", "time"]
        assert changes[-1]["at"] == told["next_change_at"]
        assert changes[-1]["after"] == told["next_segment"] == engine.view.customer("a")["segment"]


def _everything(engine: Engine) -> dict[str, Any]:
    return {name: engine.view.counters()[name] for name in ("accepted", "anonymous", "duplicates", "events")}


def test_submit_gives_every_sender_its_own_receipt(tmp_path: Path) -> None:
    lines = some_shop(400)
    with engine_on(tmp_path) as engine:
        engine.start()
        waiting = [
            engine.submit(ndjson(batch) + b"nonsense %d\n" % place)
            for place, batch in enumerate(chunks(lines, 7))
        ]
        receipts = [future.result(20) for future in waiting]
        engine.stop()
        counts = [7] * 57 + [1]
        assert [r.accepted + r.anonymous for r in receipts] == counts
        assert [[(x.line, x.reason) for x in r.rejects] for r in receipts] == [
            [(n + 1, "not_json")] for n in counts
        ]
        assert states_of(tmp_path) == by_the_book(lines)
        assert _everything(engine)["events"] == 400 + 58
