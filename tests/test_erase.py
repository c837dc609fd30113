"""After an erase no byte of the customer is left, nobody else has changed, and its lines stay away."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from dangol.adapters import local, local_history
from dangol.engine import Engine
from dangol.errors import NotFound
from dangol.testing.faults import Crash, Faults, Fuse, installed
from dangol.verify import verify
from dangol.view import View
from oracle import by_the_book, chunks, engine_on, ingest, ndjson, some_shop, states_of

GONE = "Überkunde-77123"
OTHERS = some_shop(150, customers=8)
OWN = [
    replace(
        line,
        customer=GONE,
        event=f"secret-{place}",
        product=f"hidden-{place % 3}",
        invoice=f"{line.invoice}77123",
    )
    for place, line in enumerate(some_shop(40, seed=5))
]
TRACES = (GONE.encode(), b"berkunde-77123", b"secret-", b"what hidden-")


@pytest.fixture(autouse=True)
def flush_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_history, "FLUSH_ROWS", 30)
    monkeypatch.setattr(local, "_SNAPSHOT_FLOOR", 2000)


def fill(engine: Engine) -> None:
    both = [*OTHERS, *OWN]
    for place, batch in enumerate(chunks(both[::2] + both[1::2], 25)):
        bad = replace(OWN[0], event=f"secret-bad-{place}", price=-5).as_json() + b"\n"
        escaped = bad.replace("Ü".encode(), b"\\u00dc").replace(b"secret-bad", b"secret-worse")
        ingest(engine, ndjson(batch) + bad + escaped + b"unrelated rubbish %d\n" % place)


def traces(folder: Path) -> list[tuple[str, bytes]]:
    """The files in which something of the customer is left."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [(path.name, trace) for path in files for trace in TRACES if trace in path.read_bytes()]


def test_no_byte_of_an_erased_customer_is_left(tmp_path: Path) -> None:
    with engine_on(tmp_path) as engine:
        fill(engine)
        assert {name for name, _ in traces(tmp_path)} >= {"lines.arrows"}
        receipt = engine.erase(GONE)
        assert (receipt.lines, receipt.rejects) == (40, 16)
        assert traces(tmp_path) == []
    assert traces(tmp_path) == []
    with engine_on(tmp_path):
        assert traces(tmp_path) == []


def test_lines_without_any_description_or_country_are_erased_too(tmp_path: Path) -> None:
    line = b'{"EventId":"bare-%d","InvoiceNo":"1","StockCode":"P","Quantity":2,"UnitPrice":1,'
    line += b'"InvoiceDate":"2011-01-01","CustomerID":"17"}'
    bare = [line % place for place in range(6)]
    with engine_on(tmp_path) as engine:
        ingest(engine, b"\n".join(bare))
        assert engine.erase("17").lines == 6
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"bare-" in path.read_bytes()]


def test_a_rejected_line_of_another_customer_is_kept_though_the_number_stands_in_it(tmp_path: Path) -> None:
    line = b'{"EventId":"%s","InvoiceNo":"1","StockCode":"%s","Quantity":0,"UnitPrice":1,"CustomerID":%s}\n'
    good = ndjson([replace(OWN[0], customer="17")])
    with engine_on(tmp_path) as engine:
        ingest(engine, good + line % (b"a", b"17", b'"99"') + line % (b"b", b"P", b"17.0"))
        assert engine.erase("17").rejects == 1
        assert [(reject["status"], '"99"' in reject["raw"]) for reject in engine.view.rejects()] == [
            ("open", True),
            ("erased", False),
        ]


def test_an_erase_leaves_everybody_else_as_they_were(tmp_path: Path) -> None:
    with engine_on(tmp_path) as engine:
        fill(engine)
        others = [row for row in engine.view.export().to_pylist() if row["customer"] != GONE]
        engine.erase(GONE)
        assert engine.view.export().to_pylist() == others
        kept = [(reject["status"], reject["raw"][:9]) for reject in engine.view.rejects()]
        assert sorted(kept) == [("erased", "")] * 16 + [("open", "unrelated")] * 8
        with pytest.raises(NotFound):
            engine.view.customer(GONE)
        assert engine.view.changes(customer=GONE) == []
    assert states_of(tmp_path) == by_the_book(OTHERS)
    assert verify(tmp_path).differences == []


def test_lines_of_an_erased_customer_delivered_again_are_duplicates(tmp_path: Path) -> None:
    with engine_on(tmp_path) as engine:
        fill(engine)
        engine.erase(GONE)
        assert ingest(engine, ndjson(OWN)).duplicates == 40
    with engine_on(tmp_path) as engine:
        assert ingest(engine, ndjson(OWN)).duplicates == 40
    assert traces(tmp_path) == []


def test_an_erased_customer_who_buys_again_begins_anew(tmp_path: Path) -> None:
    new = replace(OWN[0], event="new", quantity=3, invoice="900", price=2_000_000)
    with engine_on(tmp_path) as engine:
        fill(engine)
        engine.erase(GONE)
        ingest(engine, ndjson([new]))
        assert (engine.view.customer(GONE)["lines"], engine.view.customer(GONE)["monetary"]) == (1, 6.0)
        assert verify(tmp_path).differences == []
        engine.erase(GONE)
        assert states_of(tmp_path) == by_the_book(OTHERS)
        assert verify(tmp_path).differences == []
    assert traces(tmp_path) == []


def test_a_blocked_customer_is_kept_out_and_not_stored(tmp_path: Path) -> None:
    new = replace(OWN[0], event="secret-new", quantity=3, invoice="900")
    with engine_on(tmp_path) as engine:
        fill(engine)
        assert engine.erase(GONE, block=True).blocked
        for _ in range(2):
            receipt = ingest(engine, ndjson([new, replace(OTHERS[0], event="other")]))
            assert [reject.reason for reject in receipt.rejects] == ["customer_was_erased"]
    with engine_on(tmp_path) as engine:
        assert ingest(engine, ndjson([new])).rejected == 1
        assert verify(tmp_path).differences == []
    assert traces(tmp_path) == []


def test_a_customer_nobody_knows_cannot_be_erased(tmp_path: Path) -> None:
    with engine_on(tmp_path) as engine:
        fill(engine)
        with pytest.raises(NotFound, match="nothing to erase"):
            engine.erase("nobody")


def test_a_customer_named_like_the_mark_of_an_erased_one_is_no_trouble(tmp_path: Path) -> None:
    with engine_on(tmp_path) as engine:
        ingest(engine, ndjson([replace(OWN[0], customer=GONE)]))
        ingest(engine, ndjson([replace(OWN[1], customer="\x01erased-0")]))
        engine.erase(GONE)
        lines = [replace(OTHERS[n], customer=f"c{n}") for n in range(3)]
        ingest(engine, ndjson(lines))
    assert verify(tmp_path).differences == []


def test_readers_elsewhere_see_the_erase(tmp_path: Path) -> None:
    with engine_on(tmp_path) as engine:
        fill(engine)
        reader = View.open(tmp_path)
        before = reader.counters()["customers"]
        engine.erase(GONE)
        assert reader.counters()["customers"] == before - 1
        assert None not in reader.export()["customer"].to_pylist()
        ingest(engine, ndjson([replace(OTHERS[0], event="one more")]))
        assert reader.counters()["customers"] == before - 1
        reader.close()


def test_numbers_of_erased_changes_are_never_given_again(tmp_path: Path) -> None:
    early, late = OWN[0], replace(OWN[1], customer="z", event="z", invoice="1", quantity=1)
    with engine_on(tmp_path) as engine:
        ingest(engine, ndjson([replace(early, quantity=1, invoice="1")]))
        cursor = engine.view.changes()[-1]["seq"]
        engine.erase(GONE)
    with engine_on(tmp_path) as engine:
        ingest(engine, ndjson([late]))
        assert [change["customer"] for change in engine.view.changes(after=cursor)] == ["z"]


@pytest.mark.parametrize("step", [31, pytest.param(1, marks=pytest.mark.slow)])
def test_an_erase_that_died_halfway_is_finished_by_the_next(tmp_path: Path, step: int) -> None:
    full = tmp_path / "full"
    with engine_on(full) as engine:
        fill(engine)
    with installed(Faults()) as faults:
        erase_in(shutil.copytree(full, tmp_path / "clean"))
    for at in range(3, faults.calls, step):
        folder = shutil.copytree(full, tmp_path / str(at))
        with installed(Fuse(at)), pytest.raises(Crash):
            erase_in(folder)
        with engine_on(folder) as engine:
            with contextlib.suppress(NotFound):  # it had come to its end but for the tidying
                engine.erase(GONE)
            assert ingest(engine, ndjson(OWN)).duplicates == 40
        assert traces(folder) == []
        assert states_of(folder) == by_the_book(OTHERS)
        assert verify(folder).differences == []


def erase_in(folder: Path) -> None:
    engine = engine_on(folder)
    try:
        engine.erase(GONE)
    finally:
        engine.pipeline.history.close()
        engine.view.close()
        engine.pipeline.store._lock.close()
        engine.pipeline.store.log.close()
