"""What readers are told agrees with itself and with the engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dangol.clock import ManualClock
from dangol.config import Settings
from dangol.core.schema import SEGMENTS
from dangol.engine import Engine, open_engine
from dangol.errors import NotFound, UsageError
from dangol.render import EXPORT, iso, micros
from dangol.view import View
from oracle import EPOCH, Line, by_the_book, chunks, engine_on, ingest, ndjson, some_shop

LINES = some_shop(400, customers=30, days=500)
DAY = 86_400_000_000


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with engine_on(tmp_path_factory.mktemp("view")) as engine:
        for batch in chunks(LINES, 40):
            ingest(engine, ndjson(batch) + b"rubbish %d\n" % len(batch))
        yield engine


@pytest.fixture
def view(engine: Engine) -> View:
    return engine.view


def test_a_customer_is_what_the_definitions_say(view: View) -> None:
    expected = by_the_book(LINES)
    for name, state in expected.items():
        told = view.customer(name)
        lines, monetary, frequency, last, first_at, last_at, _, *kinds, country = state
        assert (told["lines"], told["frequency"], told["country"]) == (lines, frequency, country)
        assert told["monetary"] == pytest.approx(monetary / 1e6)
        assert (told["first_line_at"], told["last_line_at"]) == (iso(first_at), iso(last_at))
        assert told["last_purchase_at"] == iso(last)
        assert list(told["cancellations"].values()) == kinds
        assert abs(sum(told[f"p_{name}"] for name in SEGMENTS[1:]) - (told["segment"] != "none")) < 1e-5


def test_recency_is_the_time_since_the_last_live_purchase(view: View) -> None:
    told = view.customer("customer-1")
    days = (micros(told["as_of"]) - micros(told["last_purchase_at"])) / DAY
    assert told["recency_days"] == pytest.approx(days, abs=1e-5)


def test_pages_of_customers_join_to_the_whole_export(view: View) -> None:
    found, cursor = [], None
    while True:
        page = view.customers(limit=7, after=cursor)
        found += page["customers"]
        cursor = page["next"]
        if cursor is None:
            break
    assert [row["customer"] for row in found] == view.export()["customer"].to_pylist()
    assert set(found[0]) == set(EXPORT.names)


def test_the_export_has_the_columns_of_the_contract(view: View) -> None:
    table = view.export()
    assert table.schema == EXPORT
    assert table.num_rows == len(by_the_book(LINES))


def test_segments_add_up_to_everybody(view: View) -> None:
    segments = view.segments()
    assert [row["segment"] for row in segments] == list(SEGMENTS)
    assert sum(row["customers"] for row in segments) == 30
    for row in segments:
        assert row["customers"] == view.export(segment=row["segment"]).num_rows
        assert row["monetary"] == pytest.approx(
            sum(view.export(segment=row["segment"])["monetary"].to_pylist())
        )


def test_at_the_moment_of_its_next_change_a_customer_is_in_the_next_segment(view: View) -> None:
    rows = [row for row in view.export().to_pylist() if row["next_change_at"] is not None]
    assert rows
    for row in rows[:10]:
        moment = micros(row["next_change_at"].isoformat())
        for as_of, segment in ((moment - 1, row["segment"]), (moment, row["next_segment"])):
            found = {r["customer"]: r["segment"] for r in view.export(as_of=as_of).to_pylist()}
            assert found[row["customer"]] == segment


def test_customers_can_be_judged_now_or_later_and_not_before_the_clock(view: View) -> None:
    now = view.as_of
    assert now is not None
    assert view.export(as_of=now)["recency_days"] == view.export()["recency_days"]
    for ask in (view.export, view.customers):
        with pytest.raises(UsageError, match=f"before the data's own time {iso(now)}"):
            ask(as_of=now - 1)


def test_changes_are_read_by_cursor_and_by_customer(view: View) -> None:
    everything = view.changes(limit=10_000)
    assert [change["seq"] for change in everything] == list(range(1, len(everything) + 1))
    assert view.changes(after=3, limit=2) == everything[3:5]
    own = view.changes(customer="customer-3", limit=1000)
    assert own == [change for change in everything if change["customer"] == "customer-3"]
    assert own[-1]["after"] == view.customer("customer-3")["segment"]


def test_a_change_by_events_names_them(view: View) -> None:
    owner = {line.event: line.customer for line in LINES}
    caused = [change for change in view.changes(limit=10_000) if change["cause"] == "events"]
    assert caused
    for change in caused:
        assert change["events"]
        assert {owner[event] for event in change["events"]} == {change["customer"]}


def test_rejects_are_read_by_cursor_and_reason(view: View) -> None:
    assert [reject["raw"] for reject in view.rejects(reason="not_json")] == ["rubbish 40"]
    assert view.rejects(after=view.rejects()[-1]["seq"]) == []
    assert view.rejects(reason="quantity_zero") == []


def test_what_is_not_there_is_named(view: View) -> None:
    with pytest.raises(NotFound, match="'nobody'"):
        view.customer("nobody")
    with pytest.raises(NotFound, match="model 99"):
        view.model(99)
    with pytest.raises(UsageError, match="the segments are"):
        view.customers(segment="gold")
    with pytest.raises(UsageError, match="not a cursor"):
        view.customers(after="soon")


def test_a_view_elsewhere_follows_the_engine_commit_by_commit(tmp_path: Path) -> None:
    with engine_on(tmp_path) as engine:
        reader = View.open(tmp_path)
        assert (reader.counters()["customers"], reader.as_of, reader.customers()["customers"]) == (
            0,
            None,
            [],
        )
        for batch in chunks(LINES, 50):
            ingest(engine, ndjson(batch))
            assert reader.counters() == engine.view.counters()
            assert reader.export().equals(engine.view.export())
        reader.close()


def test_on_the_wall_clock_time_passes_without_events(tmp_path: Path) -> None:
    clock = ManualClock(EPOCH + DAY)
    with open_engine(Settings(data=tmp_path, clock="wall"), wall=clock) as engine:
        ingest(engine, ndjson([Line("1", "a", "P", "1", EPOCH, 2, 9_000_000)]))
        told = engine.view.customer("a")
        moment = micros(told["next_change_at"])
        clock.move_to(moment - 1)
        assert engine.pass_time() == 0
        clock.move_to(moment)
        assert engine.pass_time() == 1
        change = engine.view.changes()[-1]
        assert (change["cause"], change["at"], change["after"]) == (
            "time",
            told["next_change_at"],
            told["next_segment"],
        )
        assert engine.view.customer("a")["segment"] == told["next_segment"]
