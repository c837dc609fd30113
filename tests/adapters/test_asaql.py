"""The rule file: what a user may change, what is refused, and that both engines are asked for the same."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dangol.adapters.asaql import compile_rules
from dangol.adapters.casts import cast_column
from dangol.adapters.duckdb_sql import DuckDbRules
from dangol.adapters.ndjson import parse_ndjson
from dangol.core.schema import Cleansed
from dangol.errors import BadRule
from dangol.ports import SqlEngine

BROUGHT = (resources.files("dangol") / "rules" / "cleanse.asaql").read_text(encoding="utf-8")
RULES = """WITH typed AS (
    SELECT TRY_CAST(i AS nvarchar(max)) AS invoice, p AS product, TRY_CAST(q AS bigint) AS quantity,
        TRY_CAST(u AS float) AS unit_price, c AS customer, TRY_CAST(t AS datetime) AS [at]
    FROM [events]
)
SELECT invoice, product, quantity, unit_price, customer, [at] INTO [accepted] FROM typed WHERE quantity > 0
SELECT invoice, product, quantity, unit_price, [at] INTO [anonymous] FROM typed WHERE quantity < 0
SELECT 'none' AS reason, 'quantity' AS field INTO [rejected] FROM typed WHERE quantity IS NULL OR quantity = 0
"""
LINE = {"i": "1", "p": "2", "q": 3, "u": 4.5, "c": "9", "t": "2011-01-01"}


def cleansed(text: str, *lines: dict[str, Any]) -> Cleansed:
    rules = DuckDbRules(text)
    data = "\n".join(json.dumps(LINE | line) for line in lines or ({},))
    return rules.cleanse(parse_ndjson(data.encode(), rules.input_fields))


def test_the_file_that_is_brought_runs() -> None:
    assert isinstance(DuckDbRules(), SqlEngine)


def test_the_input_fields_are_those_that_the_file_names_as_it_spells_them() -> None:
    names = "EventId InvoiceNo StockCode Description Quantity UnitPrice CustomerID Country InvoiceDate"
    assert compile_rules(BROUGHT).input_fields == tuple(names.split())


def test_another_field_name_in_one_place_is_all_that_a_user_changes() -> None:
    rules = DuckDbRules(BROUGHT.replace("InvoiceNo", "order_id").replace("Quantity", "[how many]"))
    data = b'{"order_id":"7","StockCode":"A","how many":2,"UnitPrice":1,"InvoiceDate":"2011-01-01"}\n'
    data += b'{"order_id":"8"}'
    found = rules.cleanse(parse_ndjson(data, rules.input_fields))
    assert found.lines.column("invoice").to_pylist() == ["7"]
    assert found.lines.column("quantity").to_pylist() == [2]
    found = rules.cleanse(parse_ndjson(data.replace(b":2", b":2.5"), rules.input_fields))
    assert list(zip(found.rejects.reason, found.rejects.field, strict=True)) == [
        ("quantity_not_a_whole_number", "how many"),
        ("product_missing", "StockCode"),
    ]


def test_a_float_stays_a_double() -> None:
    found = cleansed(RULES, {"u": 16777217.123456})
    assert found.lines.column("unit_price").to_pylist() == [16777217123456]


def test_plain_columns_do_not_pass_through_the_engine() -> None:
    program = compile_rules(BROUGHT)
    assert not program.computed
    assert {field for (field, _), _ in program.scan.values()}.isdisjoint(
        {"EventId", "Description", "Country"}
    )


@pytest.mark.parametrize(
    ("expression", "value", "wanted"),
    [
        ("REPLACE(TRY_CAST(c AS nvarchar(max)), ',', '.')", "1,5", "1.5"),
        ("UPPER(LTRIM(RTRIM(TRY_CAST(c AS nvarchar(max)))))", " ab\u00a0", "AB"),
        (
            "CONCAT(LEFT(TRY_CAST(c AS nvarchar(max)), 2), '-', RIGHT(TRY_CAST(c AS nvarchar(max)), 1))",
            "가나다",
            "가나-다",
        ),
        ("LOWER(SUBSTRING(TRY_CAST(c AS nvarchar(max)), 2, 2))", "ABCD", "bc"),
        ("COALESCE(TRY_CAST(c AS nvarchar(max)), 'nobody')", None, "nobody"),
        ("TRY_CAST(TRY_CAST(c AS bigint) + 1 AS nvarchar(max))", "41", "42"),
        ("TRY_CAST(TRY_CAST(c AS bigint) * 1000000 AS nvarchar(max))", "9000000000000000000", None),
        ("CASE TRY_CAST(c AS nvarchar(max)) WHEN 'a' THEN 'one' ELSE 'two' END", "a", "one"),
        ("CASE WHEN TRY_CAST(c AS nvarchar(max)) LIKE '%it''s_' THEN 'yes' ELSE 'no' END", "oh it's!", "yes"),
        ("CASE WHEN TRY_CAST(c AS nvarchar(max)) NOT IN ('x', 'y') THEN 'yes' ELSE 'no' END", "x", "no"),
        ("CASE WHEN TRY_CAST(c AS float) BETWEEN 1 AND 2.5 THEN 'in' ELSE 'out' END", "2.5", "in"),
        ("CASE WHEN ABS(-TRY_CAST(c AS float) / 2) = CEILING(0.5) THEN 'one' END", "2", "one"),
        ("CASE WHEN TRY_CAST(c AS float) / 0 IS NULL THEN 'no number' END", "2", "no number"),
    ],
)
def test_expressions_mean_what_they_mean_in_stream_analytics(
    expression: str, value: Any, wanted: str | None
) -> None:
    text = RULES.replace("c AS customer", f"{expression} AS customer").replace("q AS bigint", "q AS bigint")
    found = cleansed(
        text.replace("WHERE quantity > 0", "WHERE quantity > 0 AND customer IS NOT NULL"), {"c": value}
    )
    assert found.lines.column("customer").to_pylist() == ([wanted] if wanted is not None else [])


def test_a_decimal_comma_is_a_matter_of_one_replace() -> None:
    cast = "TRY_CAST(REPLACE(TRY_CAST(u AS nvarchar(max)), ',', '.') AS float)"
    found = cleansed(
        RULES.replace("TRY_CAST(u AS float)", cast), {"u": "2,55"}, {"u": "3"}, {"q": None}, {"u": "5,0"}
    )
    assert found.lines.column("unit_price").to_pylist() == [2_550_000, 3_000_000, 5_000_000]
    assert found.lines.column("row").to_pylist() == [0, 1, 3]


def test_local_times_become_utc_by_one_dateadd() -> None:
    found = cleansed(
        RULES.replace("TRY_CAST(t AS datetime)", "DATEADD(hour, -9, TRY_CAST(t AS datetime))"), {}
    )
    assert found.lines.column("at").to_pylist() == [1293840000000000 - 9 * 3600 * 1_000_000]


def test_outputs_may_compute_their_columns_each_in_its_own_way() -> None:
    text = RULES.replace("quantity, unit_price, customer", "quantity + 1 AS quantity, unit_price, customer")
    found = cleansed(text, {"q": 1}, {"q": -1}, {"q": 0}, {"q": 5})
    assert found.lines.column("quantity").to_pylist() == [2, -1, 6]
    assert found.lines.column("customer").to_pylist() == ["9", None, "9"]
    assert (found.rejects.row.tolist(), found.rejects.field) == ([2], ["q"])


def test_a_where_in_a_step_holds_for_all_that_read_it() -> None:
    text = RULES.replace("FROM [events]", "FROM [events] WHERE TRY_CAST(q AS bigint) > 1").replace(
        "typed WHERE", "Typed WHERE"
    )
    found = cleansed(text, {"q": 1}, {"q": 2})
    assert found.lines.column("quantity").to_pylist() == [2]
    assert found.rejects.reason == ["not_matched_by_rules"]


def test_steps_may_branch_and_read_each_other() -> None:
    steps = RULES.replace(
        ")\nSELECT invoice",
        "), sold AS (SELECT *, unit_price * 2 AS twice FROM typed), other AS (SELECT quantity FROM typed)\n"
        "SELECT invoice",
        1,
    )
    text = steps.replace(
        "quantity, unit_price, customer, [at] INTO [accepted] FROM typed",
        "quantity, twice AS unit_price, customer, [at] INTO [accepted] FROM sold",
    )
    assert cleansed(text).lines.column("unit_price").to_pylist() == [9_000_000]


@pytest.mark.parametrize(
    ("before", "after", "place", "what"),
    [
        ("FROM [events]", "FROM [events] TIMESTAMP BY t", "line 4, column 19", "TIMESTAMP BY"),
        ("FROM [events]", "FROM [events] JOIN other ON 1 = 1", "line 4, column 19", "JOIN"),
        ("FROM [events]", "FROM [events] GROUP BY c", "line 4, column 19", "GROUP"),
        ("c AS customer", "LAG(c) AS customer", "line 3, column 45", "LAG"),
        ("c AS customer", "LEN(c) AS customer", "line 3, column 45", "LEN"),
        ("c AS customer", "ISNULL(c, '') AS customer", "line 3, column 45", "ISNULL"),
        ("c AS customer", "UPPER(c) AS customer", "line 3, column 51", "TRY_CAST first"),
        ("c AS customer", "CAST(c AS nvarchar(max)) AS customer", "line 3, column 50", "TRY_CAST"),
        ("c AS customer", "TRY_CAST(c AS nvarchar(20)) AS customer", "line 3, column 54", "nvarchar(max)"),
        ("c AS customer", "TRY_CAST(c AS int) AS customer", "line 3, column 54", "bigint"),
        ("c AS customer", "c + 1 AS customer", "line 3, column 45", "TRY_CAST"),
        ("c AS customer", "c AS client", "line 6, column 48", "no column customer"),
        ("c AS customer", "c AS customer, c AS customer", "line 3, column 60", "name of its own"),
        ("AS invoice, p AS product", "AS invoice, *", "line 4", "SELECT * from the input"),
        ("INTO [accepted]", "INTO [realtime]", "line 6, column 68", "accepted, anonymous, rejected"),
        (
            "product, quantity, unit_price, customer",
            "quantity, unit_price, customer",
            "line 6",
            "lacks the column product",
        ),
        ("customer, [at] INTO", "customer, [at], customer AS client INTO", "line 6", "client"),
        ("TRY_CAST(q AS bigint)", "TRY_CAST(q AS float)", "line 6", "must be bigint"),
        ("quantity > 0", "quantity > 'a'", "line 6", "mixes bigint and text"),
        ("quantity > 0", "quantity", "line 6", "needs boolean"),
        ("quantity > 0", "invoice LIKE '[A-Z]%'", "line 6", "LIKE"),
        ("quantity > 0", "quantity / 2 > 0", "line 6", "float on one side"),
        ("WHERE quantity > 0", "WHERE quantity > ", "line 6, column 105", "cannot be read near"),
        ("FROM typed WHERE quantity < 0", "FROM other WHERE quantity < 0", "line 7", "other"),
        ("SELECT 'none' AS reason", "SELECT reason", "line 8", "no column reason"),
    ],
)
def test_what_does_not_run_alike_on_both_sides_is_refused_with_its_place(
    before: str, after: str, place: str, what: str
) -> None:
    assert before in RULES
    with pytest.raises(BadRule) as refusal:
        DuckDbRules(RULES.replace(before, after, 1))
    assert place in str(refusal.value)
    assert what in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "text", ["", "-- nothing", "SELECT 1", "DROP TABLE x", "WITH", "SELECT a INTO [accepted] FROM", "\x00"]
)
def test_a_file_that_is_no_rule_file_is_refused(text: str) -> None:
    with pytest.raises(BadRule):
        DuckDbRules(text)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "SELECT ... INTO [accepted]"),
        (b"SELECT 1", "line 1"),
        (b"SELECT COUNT(*) FROM x", "line 1"),
        (b"\xff\xfe", "save it as UTF-8"),
        (None, "does not exist: check the name"),
    ],
)
def test_what_is_wrong_with_a_named_rule_file_names_it(
    tmp_path: Path, content: bytes | None, what: str
) -> None:
    path = tmp_path / "mine.asaql"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadRule) as refusal:
        DuckDbRules.from_file(path)
    assert f"the cleanse file {path}" in str(refusal.value)
    assert what in str(refusal.value)
    assert "Errno" not in str(refusal.value)


def test_a_folder_is_no_rule_file(tmp_path: Path) -> None:
    with pytest.raises(BadRule, match="is a folder: name one file in it"):
        DuckDbRules.from_file(tmp_path)


def test_each_output_must_be_there() -> None:
    with pytest.raises(BadRule, match=r"no SELECT ... INTO \[rejected\]"):
        DuckDbRules("\n".join(RULES.splitlines()[:-1]))


@pytest.mark.parametrize(
    ("operation", "value", "wanted"),
    [
        ("bigint", "9223372036854775807", 2**63 - 1),
        ("bigint", "9223372036854775808", None),
        ("bigint", " -6.00 ", -6),
        ("bigint", "1e3", None),
        ("float", "0.1234567890123456789", 0.1234567890123456789),
        ("float", "123456789012345678901234567890", 123456789012345678901234567890.0),
        ("float", "9007199254740993", 9007199254740993.0),
        ("float", "1e-400", 0.0),
        ("datetime", "0001-01-01", -62_135_596_800_000_000),
        ("datetime", "2000-02-29T12:00:00.5-01:30", 951_831_000_500_000),
        ("datetime", "1900-02-29", None),
        ("trim", "\u3000 x \u2003", "x"),
        ("ltrim", " x ", "x "),
        ("rtrim", " x ", " x"),
    ],
)
def test_texts_are_cast_without_guessing(operation: str, value: str, wanted: Any) -> None:
    assert cast_column(operation, pa.array([value, None])).to_pylist() == [wanted, None]


@pytest.mark.parametrize(
    ("operation", "column", "wanted"),
    [
        ("text", pa.array([17850, None]), ["17850", None]),
        ("text", pa.array([17850.0, 2.5, None, float("nan")]), ["17850", "2.5", None, None]),
        ("text", pa.array([True]), ["true"]),
        ("text", pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        ("text", pa.array(["a"], pa.large_string()), ["a"]),
        ("bigint", pa.array([1.0, 1.5, float("inf")]), [1, None, None]),
        ("bigint", pa.array([2**64 - 1, 7], pa.uint64()), [None, 7]),
        ("float", pa.array([1.5, float("nan")], pa.float32()), [1.5, None]),
        ("float", pa.array([True]), [None]),
        ("datetime", pa.array([1, None], pa.timestamp("s")), [1_000_000, None]),
        ("datetime", pa.array([2**62, -(2**62)], pa.timestamp("s")), [None, None]),
        ("datetime", pa.array([-1], pa.timestamp("ns", "Asia/Seoul")), [-1]),
        ("datetime", pa.array([1], pa.date32()), [86_400_000_000]),
        ("datetime", pa.array([1]), [None]),
        ("datetime", pa.nulls(1), [None]),
    ],
)
def test_typed_columns_are_cast_without_guessing(operation: str, column: pa.Array, wanted: list[Any]) -> None:
    assert cast_column(operation, column).to_pylist() == wanted


def test_a_slice_of_a_column_is_cast_from_its_own_place() -> None:
    column = pa.array(["1", None, "3", " 4", "x", "6"]).slice(1, 4)
    assert cast_column("bigint", column).to_pylist() == [None, 3, 4, None]
    assert cast_column("trim", column).to_pylist() == [None, "3", "4", "x"]
