"""The cleanse step: golden pairs of files, a plain Python oracle, and the laws that hold for any rules."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dangol.adapters.duckdb_sql import DuckDbRules
from dangol.adapters.ndjson import parse_ndjson
from dangol.core.cleanse import BROKEN, NOT_MATCHED, OUTPUTS
from dangol.core.schema import LINES, Cleansed, LineBlock
from dangol.ports import SqlEngine

GOLDEN = sorted((Path(__file__).parents[1] / "golden" / "cleanse").glob("*.in.ndjson"))
COLUMNS = LINES.names[1:]

YEAR_1900, YEAR_1971 = (dt.datetime(year, 1, 1) for year in (1900, 1971))  # noqa: DTZ001  # zones come later


@pytest.fixture(scope="module")
def rules() -> Iterator[DuckDbRules]:
    engine = DuckDbRules()
    yield engine
    engine.close()


def verdicts(block: LineBlock, cleansed: Cleansed) -> list[dict[str, Any]]:
    """One record a line, in order."""
    kept = {line.pop("row"): line for line in cleansed.lines.to_pylist()}
    rejects = zip(cleansed.rejects.row.tolist(), cleansed.rejects.reason, cleansed.rejects.field, strict=True)
    gone = {row: {"rejected": reason, "field": field} for row, reason, field in rejects}
    assert len(kept) == len(cleansed.lines)
    assert len(gone) == len(cleansed.rejects)
    assert sorted([*kept, *gone]) == list(range(len(block)))
    assert list(kept) == sorted(kept)
    assert list(gone) == sorted(gone)
    return [(kept | gone)[row] for row in range(len(block))]


def judged(engine: SqlEngine, data: bytes) -> list[dict[str, Any]]:
    block = parse_ndjson(data, engine.input_fields)
    cleansed = engine.cleanse(block)
    assert cleansed.lines.schema.equals(LINES)
    cleansed.lines.validate(full=True)
    return verdicts(block, cleansed)


@pytest.mark.parametrize("given_lines", GOLDEN, ids=lambda path: path.name.split(".")[0])
def test_lines_are_judged_as_the_golden_file_says(rules: DuckDbRules, given_lines: Path) -> None:
    data = given_lines.read_bytes()
    wanted = json.loads(given_lines.with_name(given_lines.name.replace("in.ndjson", "out.json")).read_text())
    block = parse_ndjson(data, rules.input_fields)
    found = judged(rules, data)
    assert [{"line": block.raw.line_number(row)} | line for row, line in enumerate(found)] == wanted


def number(value: Any) -> float | None:
    text = value if isinstance(value, str) else None if value is None or value is True else repr(value)
    if text is None or not re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", text, re.ASCII):
        return None
    return float(text)


def moment(value: Any) -> int | None:
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?", value):
        return None
    try:
        parsed = dt.datetime.fromisoformat(value)
    except ValueError:
        return None
    parsed = parsed if parsed.tzinfo else parsed.replace(tzinfo=dt.UTC)
    return (parsed - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


def trimmed(value: Any) -> str | None:
    return None if value is None else str(value).strip()


def oracle(line: dict[str, Any]) -> dict[str, Any]:
    """The rules in plain Python, first fault first."""
    invoice, product = trimmed(line.get("InvoiceNo")), trimmed(line.get("StockCode"))
    quantity, price = number(line.get("Quantity")), number(line.get("UnitPrice"))
    customer, at = trimmed(line.get("CustomerID")) or None, moment(line.get("InvoiceDate"))
    odd = customer and invoice and quantity and (invoice[0] == "C") == (quantity > 0)
    faults = [
        (not invoice, "invoice_missing", "InvoiceNo"),
        (not product, "product_missing", "StockCode"),
        (
            quantity is None or (math.isfinite(quantity) and quantity != int(quantity)),
            "quantity_not_a_whole_number",
            "Quantity",
        ),
        (quantity == 0, "quantity_zero", "Quantity"),
        (abs(quantity or 0) > 1e9, "quantity_too_large", "Quantity"),
        (price is None, "price_not_a_number", "UnitPrice"),
        (price is not None and price <= 0.0000005, "price_not_positive", "UnitPrice"),
        ((price or 0) >= 1e9, "price_too_large", "UnitPrice"),
        (abs((quantity or 0) * (price or 0)) > 1e9, "amount_too_large", "Quantity"),
        (at is None, "time_not_understood", "InvoiceDate"),
        ((at or 0) < 0, "time_out_of_range", "InvoiceDate"),
        (bool(odd), "sign_against_invoice", "Quantity"),
    ]
    for holds, reason, field in faults:
        if holds:
            return {"rejected": reason, "field": field}
    assert quantity is not None
    assert price is not None
    texts = {
        "event_id": line.get("EventId"),
        "description": line.get("Description"),
        "country": line.get("Country"),
    }
    values = {"quantity": int(quantity), "unit_price": round(price * 1e6), "at": at}
    merged = {"invoice": invoice, "product": product, "customer": customer} | values | texts
    return {name: merged[name] for name in COLUMNS}


numbers_as_text = st.one_of(
    st.integers(-20, 20).map(str),
    st.floats(-1e10, 1e10).map(repr),
    st.decimals(-1000, 1000, places=2).map(str),
    st.sampled_from(
        ["2.7", " 5 ", "1e3", "0x1F", "NaN", "inf", "1_0", "", "-", "1,5", "6.0", "9" * 30, "1e-9", "+7"]
    ),
)
any_number = st.integers(-10, 10) | st.sampled_from([2.5, 0.0001, 1e8, 1e9, 2e9, 7.25]) | numbers_as_text
usual_number = st.integers(1, 9) | any_number
texts = (
    st.none()
    | st.sampled_from(["C1", "536365", "A5", "", "  ", " C2", "가나", "c9", "\t7 "])
    | st.text("C1 가", max_size=3)
)
usual_text = st.just("536365") | texts
times = st.one_of(
    st.datetimes(YEAR_1900).map(lambda t: t.isoformat()),
    st.datetimes(YEAR_1971, timezones=st.just(dt.timezone(dt.timedelta(hours=9)))).map(
        lambda t: t.isoformat(" ")
    ),
    st.dates().map(str),
    st.sampled_from(
        ["2010-12-01T08:26:00Z", "12/1/2010 8:26", "infinity", "epoch", "", "2010-13-01", "2010-12-01T8:26"]
    ),
    st.none() | st.integers(),
)
wire_lines = st.fixed_dictionaries(
    {"InvoiceNo": usual_text, "StockCode": usual_text, "Quantity": usual_number, "UnitPrice": usual_number},
    optional={
        "EventId": st.none() | st.text(max_size=3),
        "Description": st.none() | st.text(max_size=5),
        "InvoiceDate": times,
        "CustomerID": texts,
        "Country": st.none() | st.text(max_size=5),
    },
)
batches = st.lists(wire_lines, max_size=12).map(
    lambda batch: [{"InvoiceDate": "2011-01-01"} | line for line in batch]
)


def wire(batch: list[dict[str, Any]]) -> bytes:
    return "\n".join(json.dumps(line) for line in batch).encode()


@settings(max_examples=200, deadline=None)
@given(batch=batches)
def test_every_line_is_judged_as_plain_python_judges_it(
    rules: DuckDbRules, batch: list[dict[str, Any]]
) -> None:
    assert judged(rules, wire(batch)) == [oracle(line) for line in batch]


@settings(max_examples=50, deadline=None)
@given(batch=batches, garbage=st.lists(st.binary(min_size=1, max_size=5), max_size=3), cut=st.integers(0, 15))
def test_the_same_verdicts_come_however_the_lines_are_split(
    rules: DuckDbRules, batch: list[dict[str, Any]], garbage: list[bytes], cut: int
) -> None:
    lines = [wire([line]) for line in batch] + [
        part
        for part in garbage
        if part.strip() and b"\n" not in part and not part.startswith(b"\xef\xbb\xbf")
    ]
    lines = lines[::2] + lines[1::2]
    whole = judged(rules, b"\n".join(lines))
    parts = judged(rules, b"\n".join(lines[:cut])) + judged(rules, b"\n".join(lines[cut:]))
    single = [verdict for line in lines for verdict in judged(rules, line)]
    assert whole == parts == single


class NoText:
    def text(self, row: int) -> bytes:
        raise AssertionError(row)


def counts(cleansed: Cleansed) -> Counter[str]:
    anonymous = cleansed.lines.column("customer").null_count
    told = Counter(cleansed.rejects.reason)
    return told + Counter(accepted=len(cleansed.lines) - anonymous, anonymous=anonymous)


@pytest.fixture(scope="module")
def real_table(real_data: Path) -> pa.Table:
    table = pq.read_table(real_data)
    names = pc.cast(pa.array(np.arange(len(table))), pa.string())
    return table.append_column("EventId", names)


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_timestamp(column.type):
        return pc.strftime(column, "%Y-%m-%dT%H:%M:%SZ").cast(pa.string())
    return column.cast(pa.string())


@pytest.mark.parametrize("kind", ["typed", "text"])
def test_the_real_data_gives_the_known_counts(rules: DuckDbRules, real_table: pa.Table, kind: str) -> None:
    table = real_table.select(rules.input_fields)
    if kind == "text":
        table = pa.table([as_text(column) for column in table.columns], names=table.column_names)
    found: Counter[str] = Counter()
    for batch in table.combine_chunks().to_batches(max_chunksize=50_000):
        block = LineBlock(fields=batch, fault=np.zeros(len(batch), np.uint8), raw=NoText())
        found += counts(rules.cleanse(block))
    assert found == {"accepted": 406_789, "anonymous": 132_603, "price_not_positive": 2_517}


def test_customers_that_come_as_floats_keep_their_number(rules: DuckDbRules) -> None:
    values = {name: pa.array(["1", "1", "1"]) for name in rules.input_fields}
    values |= {
        "CustomerID": pa.array([17850.0, math.nan, None]),
        "InvoiceDate": pa.array([0, 1, 2], pa.timestamp("ns")),
    }
    values |= {"Quantity": pa.array([6.0, 2.0, 2.5]), "UnitPrice": pa.array([3, 4, 5], pa.int32())}
    block = LineBlock(fields=pa.RecordBatch.from_pydict(values), fault=np.zeros(3, np.uint8), raw=NoText())
    cleansed = rules.cleanse(block)
    assert cleansed.lines.column("customer").to_pylist() == ["17850", None]
    assert cleansed.lines.column("unit_price").to_pylist() == [3_000_000, 4_000_000]
    assert cleansed.rejects.reason == ["quantity_not_a_whole_number"]


LINE = b'{"i":"1","p":"2","q":3,"u":4.5,"c":"9","t":"2011-01-01"}'
LOOSE = """
WITH typed AS (
    SELECT TRY_CAST(i AS nvarchar(max)) AS invoice, p AS product, TRY_CAST(q AS bigint) AS quantity,
        TRY_CAST(u AS float) AS unit_price, c AS customer, TRY_CAST(t AS datetime) AS [at]
    FROM [events]
)
SELECT * INTO [accepted] FROM typed WHERE {accepted}
SELECT * INTO [anonymous] FROM typed WHERE {anonymous}
SELECT 'mine' AS reason INTO [rejected] FROM typed WHERE {rejected}
"""


def loose(**conditions: str) -> str:
    return LOOSE.format_map(dict.fromkeys(OUTPUTS, "1 = 0") | conditions)


def test_a_line_that_no_output_takes_is_rejected() -> None:
    assert judged(DuckDbRules(loose()), LINE) == [{"rejected": NOT_MATCHED, "field": ""}]


@pytest.mark.parametrize(
    ("takers", "winner"),
    [
        (OUTPUTS, "rejected"),
        (OUTPUTS[:2], "anonymous"),
        (("accepted", "rejected"), "rejected"),
        (OUTPUTS[:1], "accepted"),
    ],
)
def test_a_line_that_several_outputs_take_goes_to_the_strictest(takers: tuple[str, ...], winner: str) -> None:
    [line] = judged(DuckDbRules(loose(**dict.fromkeys(takers, "1 = 1"))), LINE)
    found = "rejected" if "rejected" in line else "anonymous" if line["customer"] is None else "accepted"
    assert found == winner


@pytest.mark.parametrize(
    ("damage", "field"),
    [
        (b'"q":"x"', "q"),
        (b'"q":0', "q"),
        (b'"q":4000000000', "q"),
        (b'"u":null', "u"),
        (b'"u":-1', "u"),
        (b'"u":1e300', "u"),
        (b'"i":null', "i"),
        (b'"c":null', "c"),
        (b'"t":"soon"', "t"),
        (b'"t":"1950-01-01"', "t"),
    ],
)
def test_loose_rules_cannot_let_through_what_the_engine_cannot_hold(damage: bytes, field: str) -> None:
    data = LINE + b"\n" + LINE[:-1] + b"," + damage + b"}\n" + LINE
    found = judged(DuckDbRules(loose(accepted="1 = 1")), data)
    assert found[1] == {"rejected": BROKEN, "field": field}
    assert found[0] == found[2] == {"event_id": None, "description": None, "country": None} | found[0]
