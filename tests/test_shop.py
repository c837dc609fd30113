"""The generated shop: exact in size, the same for a seed, and with the habits that it claims."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dangol.adapters.files import open_source
from dangol.adapters.ndjson import parse_ndjson
from dangol.core.schema import WIRE_FIELDS
from dangol.errors import UsageError
from dangol.testing.garbage import KINDS, garbage_line, garbage_lines, mix
from dangol.testing.shop import Shop, shop_ndjson, write_shop

SHOP = Shop(customers=800, lines=60_000, seed=3)


@pytest.fixture(scope="module")
def lines() -> pa.Table:
    return pa.Table.from_batches(SHOP.batches())


@pytest.fixture(scope="module")
def unique(lines: pa.Table) -> list[dict[str, Any]]:
    """The lines without redelivered copies, in the order of their numbers."""
    return sorted({row["EventId"]: row for row in lines.to_pylist()}.values(), key=lambda row: row["EventId"])


@given(
    customers=st.integers(1, 300),
    lines=st.integers(1, 2000),
    seed=st.integers(0, 2**31 - 1),
    days=st.integers(1, 800),
    lines_per_invoice=st.floats(1, 40),
    anonymous=st.floats(0, 0.9),
    cancelled=st.floats(0, 0.9),
    duplicates=st.floats(0, 0.9),
    late=st.floats(0, 0.9),
    latest=st.integers(1, 3000),
    products=st.integers(1, 500),
)
@settings(max_examples=60, deadline=None)
def test_exactly_as_many_lines_arrive_as_asked_whatever_the_habits(**habits: Any) -> None:
    table = pa.Table.from_batches(Shop(**habits).batches())
    copies = min(round(habits["lines"] * habits["duplicates"]), habits["lines"] - 1)
    assert table.num_rows == habits["lines"]
    assert len(set(table["EventId"].to_pylist())) == habits["lines"] - copies


@pytest.mark.parametrize("rows", [1, 7, 1000, 10**6])
def test_the_lines_do_not_depend_on_the_size_of_batches(rows: int) -> None:
    shop = Shop(customers=50, lines=500, seed=5, late=0.2, duplicates=0.1, malformed=0.2)
    assert pa.Table.from_batches(shop.batches(rows)).equals(pa.Table.from_batches(shop.batches()))
    assert b"".join(shop_ndjson(shop, rows)) == b"".join(shop_ndjson(shop))


def test_a_seed_gives_the_same_shop_and_another_seed_another() -> None:
    first, again, other = (pa.Table.from_batches(Shop(lines=2000, seed=s).batches()) for s in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)


def test_a_copy_is_equal_to_its_line(lines: pa.Table) -> None:
    seen: dict[str, dict[str, Any]] = {}
    for row in lines.to_pylist():
        assert seen.setdefault(row["EventId"], row) == row
    assert len(seen) == SHOP.lines - round(SHOP.lines * SHOP.duplicates)


def test_the_numbers_of_lines_follow_time_and_late_lines_arrive_behind(
    lines: pa.Table, unique: list[Any]
) -> None:
    moments = [row["InvoiceDate"] for row in unique if row["InvoiceDate"]]
    assert moments == sorted(moments)
    ids = lines["EventId"].to_pylist()
    behind = sum(later < earlier for earlier, later in zip(ids, ids[1:], strict=False))
    assert 0.5 * SHOP.late < behind / len(ids) < 2 * (SHOP.late + SHOP.duplicates)


def test_all_lines_lie_in_the_period(lines: pa.Table) -> None:
    bounds = pc.min_max(lines["InvoiceDate"]).as_py()
    start = dt.datetime.fromisoformat(SHOP.start)
    assert start <= bounds["min"]
    assert bounds["max"] < start + dt.timedelta(days=SHOP.days)


def test_shares_come_out_as_asked(lines: pa.Table) -> None:
    anonymous = lines["CustomerID"].null_count / len(lines)
    cancelled = pc.sum(pc.starts_with(lines["InvoiceNo"], "C")).as_py() / len(lines)
    assert anonymous == pytest.approx(SHOP.anonymous, abs=0.01)
    assert cancelled == pytest.approx(SHOP.cancelled, abs=0.002)


def test_most_cancellations_follow_a_purchase_of_the_same_product(unique: list[dict[str, Any]]) -> None:
    bought: Counter[tuple[str, str]] = Counter()
    found = total = 0
    for row in unique:
        if row["CustomerID"] is None or not row["Quantity"]:
            continue
        pair = (row["CustomerID"], row["StockCode"])
        if row["Quantity"] > 0:
            bought[pair] += row["Quantity"]
        elif (row["InvoiceNo"] or "").startswith("C"):
            total += 1
            found += bought[pair] >= -row["Quantity"]
    assert 0.8 < found / total < 0.99


def test_groups_behave_as_they_are_called(unique: list[dict[str, Any]]) -> None:
    truth = dict(zip(*(column.to_pylist() for column in SHOP.truth().columns), strict=True))
    invoices: dict[str, set[str]] = {name: set() for name in truth}
    days: dict[str, list[dt.datetime]] = {name: [] for name in truth}
    for row in unique:
        if row["CustomerID"] and row["InvoiceNo"] and row["InvoiceNo"][0] != "C" and row["InvoiceDate"]:
            invoices[row["CustomerID"]].add(row["InvoiceNo"])
            days[row["CustomerID"]].append(row["InvoiceDate"])
    of = {group: [name for name in truth if truth[name] == group] for group in set(truth.values())}
    end = dt.datetime.fromisoformat(SHOP.start) + dt.timedelta(days=SHOP.days)
    assert all(len(invoices[name]) == 1 for name in of["one_time"])
    assert all((end - max(days[name])).days > 60 for name in of["lapsed"])
    assert all((min(days[name]) - end).days > -250 for name in of["newcomer"])
    assert all(day.month in (10, 11, 12) for name in of["seasonal"] for day in days[name])
    means = {group: sum(len(invoices[name]) for name in names) / len(names) for group, names in of.items()}
    assert means["wholesale"] > means["regular"] > means["occasional"] > means["one_time"]


@pytest.mark.parametrize(
    ("habit", "value"),
    [
        ("lines", 0),
        ("customers", -1),
        ("anonymous", 1.5),
        ("start", "soon"),
        ("seed", -1),
        ("lines_per_invoice", 0.5),
    ],
)
def test_a_shop_that_cannot_be_is_refused_by_name(habit: str, value: object) -> None:
    with pytest.raises(UsageError, match=habit):
        Shop(**{habit: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".ndjson"])
def test_a_written_shop_reads_back_with_its_truth_beside_it(tmp_path: Path, ending: str) -> None:
    shop = Shop(customers=60, lines=4000, seed=4, malformed=0.05)
    truth = write_shop(tmp_path / f"shop{ending}", shop)
    rows = [
        row
        for block, _ in open_source(tmp_path / f"shop{ending}").blocks(WIRE_FIELDS, None)
        for row in block.fields.to_pylist()
    ]
    expected = pa.Table.from_batches(shop.batches()).to_pylist()
    assert [(row["EventId"], row["CustomerID"]) for row in rows] == [
        (row["EventId"], row["CustomerID"]) for row in expected
    ]
    assert truth.name == "shop.truth.csv"
    assert len(truth.read_text().splitlines()) == 61
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [f"shop{ending}", "shop.truth.csv"]


def test_text_files_say_something_where_typed_ones_have_null(tmp_path: Path) -> None:
    shop = Shop(customers=60, lines=4000, seed=4, malformed=0.2)
    write_shop(tmp_path / "shop.parquet", shop)
    missing = pq.read_table(tmp_path / "shop.parquet")["UnitPrice"].null_count
    prices = [json.loads(line)["UnitPrice"] for line in b"".join(shop_ndjson(shop)).splitlines()]
    assert missing == sum(isinstance(price, str) for price in prices) > 0


def test_an_ending_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.parquet, \.csv"):
        write_shop(tmp_path / "shop.doc", Shop(lines=1))


@pytest.mark.parametrize("kind", [*KINDS, "ten_megabytes"])
def test_each_kind_of_garbage_is_one_line_for_the_parser(kind: str) -> None:
    line = garbage_line(kind, 12)
    assert b"\n" not in line
    assert len(parse_ndjson(line + b"\n", WIRE_FIELDS)) == 1


def test_garbage_has_every_kind_and_is_the_same_for_a_seed() -> None:
    first = list(garbage_lines(len(KINDS), 1, huge=0))
    assert first == list(garbage_lines(len(KINDS), 1, huge=0))
    assert len(set(first)) == len(KINDS)


def test_mixed_lines_are_counted_and_the_good_ones_stay_in_order() -> None:
    shop = Shop(customers=100, lines=20_000, seed=6, malformed=0)
    good = garbage = 0
    ids: list[str] = []
    for data, originals, others in mix(shop_ndjson(shop, 4096), 0.03, seed=2):
        block = parse_ndjson(data, WIRE_FIELDS)
        assert len(block) == originals + others
        good, garbage = good + originals, garbage + others
        ids += [
            name for name in block.fields.column("EventId").to_pylist() if name and name.startswith("shop-")
        ]
    assert good == shop.lines
    assert garbage / (good + garbage) == pytest.approx(0.03, abs=0.005)
    assert ids == pa.Table.from_batches(shop.batches())["EventId"].to_pylist()
