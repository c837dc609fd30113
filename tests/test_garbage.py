"""Whatever senders send: nothing crashes, good lines get through, and every line is accounted for."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dangol.core.schema import WIRE_FIELDS
from dangol.engine import Engine
from dangol.testing.garbage import KINDS, garbage_line, mix
from dangol.verify import verify
from oracle import by_the_book, chunks, engine_on, ingest, law_4_holds, ndjson, some_shop, states_of


def mixed(n: int, size: int) -> Iterator[tuple[bytes, int, int]]:
    lines = some_shop(n, customers=max(5, n // 50))
    return mix((ndjson(part) for part in chunks(lines, size)), 0.03, seed=7)


@pytest.mark.parametrize("n", [30_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_garbage_between_good_lines_is_counted_and_harms_none(tmp_path: Path, n: int) -> None:
    sent = garbage = 0
    with engine_on(tmp_path, max_body_bytes=128 << 20, queue_bytes=256 << 20) as engine:
        engine.start()
        for body, good, bad in mixed(n, 2_000):
            receipt = engine.submit(body).result(120)
            assert receipt.events == good + bad
            assert receipt.accepted + receipt.anonymous >= good
            sent, garbage = sent + good, garbage + bad
        counters = engine.view.counters()
        engine.stop()
    assert sent == n
    assert garbage > 0.02 * n
    assert counters["events"] == sent + garbage
    assert law_4_holds(counters)
    assert verify(tmp_path).differences == []


def test_garbage_does_not_change_the_states_of_the_customers_beside_it(tmp_path: Path) -> None:
    lines = some_shop(3_000, customers=40)
    with engine_on(tmp_path) as engine:
        for body, _, _ in mix((ndjson(part) for part in chunks(lines, 500)), 0.3, seed=8, huge=0):
            ingest(engine, body)
    found = states_of(tmp_path)
    expected = by_the_book(lines)
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize("kind", [*KINDS, "ten_megabytes"])
def test_a_line_of_each_kind_between_two_good_ones(engine: Engine, kind: str) -> None:
    number = next(NUMBERS)
    first, second = some_shop(2, seed=number)
    good = [line.as_json().replace(b"shop-", b"%d-" % number) for line in (first, second)]
    receipt = ingest(engine, b"\n".join([good[0], garbage_line(kind, number), good[1]]))
    assert receipt.events == 3
    assert receipt.accepted + receipt.anonymous >= 2
    assert [reject.line for reject in receipt.rejects] in ([2], [])
    assert law_4_holds(engine.view.counters())


NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with engine_on(tmp_path_factory.mktemp("garbage")) as engine:
        yield engine


TEXTS = st.text(max_size=12) | st.sampled_from(
    ["1", "-1", "2.5", "1e9", "NaN", "2011-01-01T10:00:00", "C5", "\x00", "\x01erased-0"]
)
VALUES = (
    TEXTS
    | st.integers(-(10**12), 10**12)
    | st.floats()
    | st.none()
    | st.booleans()
    | st.lists(st.integers(), max_size=2)
)
GOOD = {
    "Quantity": 1,
    "UnitPrice": 2.5,
    "InvoiceDate": "2011-01-01T10:00:00",
    "InvoiceNo": "5",
    "StockCode": "P",
}


@st.composite
def bodies(draw) -> bytes:
    rows = draw(st.lists(st.dictionaries(st.sampled_from(WIRE_FIELDS), VALUES, max_size=4), max_size=6))
    lines = [
        json.dumps(GOOD | row, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
        for row in rows
    ]
    return b"\n".join(
        [*lines, *draw(st.lists(st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"")), max_size=2))]
    )


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(bodies())
def test_any_json_and_any_bytes_are_counted(engine: Engine, body: bytes) -> None:
    before = engine.view.counters()["events"]
    receipt = ingest(engine, body)
    counters = engine.view.counters()
    assert counters["events"] == before + receipt.events
    assert receipt.events == receipt.accepted + receipt.anonymous + receipt.rejected + receipt.duplicates
    assert law_4_holds(counters)


def test_after_all_of_it_the_folder_opens_again_and_is_as_computed(tmp_path: Path) -> None:
    changes = {
        "CustomerID": ["\x00", "\x01erased-0", "a" * 50_000, "\u2028"],
        "Country": ["x" * 900_000, "\x00"],
        "StockCode": ["P\x00"],
        "InvoiceNo": ["\U0001f600"],
        "EventId": [""],
    }
    hostile = [{field: value} for field, values in changes.items() for value in values]
    lines = [
        json.dumps({"CustomerID": "a", "EventId": f"{n}"} | GOOD | row).encode()
        for n, row in enumerate(hostile)
    ]
    countries = [
        json.dumps({"CustomerID": f"c{n}", "EventId": f"country-{n}", "Country": f"land-{n}"} | GOOD).encode()
        for n in range(3000)
    ]
    with engine_on(tmp_path) as engine:
        assert ingest(engine, b"\n".join(lines)).rejected == 0
    with engine_on(tmp_path) as engine:
        assert ingest(engine, b"\n".join(countries)).accepted == 3000
        assert ingest(engine, b"\n".join(lines)).duplicates == len(hostile)
    assert verify(tmp_path).differences == []
