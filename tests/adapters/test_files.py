"""Files as sources of lines: every kind gives the same rows, resumes, and says what is wrong with it."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xlsx_writer import write_workbook

from dangol.adapters.byte_streams import FileBytes
from dangol.adapters.files import ENDINGS, open_source, to_ndjson
from dangol.adapters.json_lines import line_chunks
from dangol.adapters.tables import numbered
from dangol.core.schema import FAULTS
from dangol.errors import BadFile
from dangol.ports import Source

FIELDS = ("EventId", "InvoiceNo", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
NAMES = FIELDS[1:]
ROWS: list[list[object]] = [
    [
        f"5363{at:02}",
        at - 3,
        dt.datetime.fromisoformat(f"2010-12-01T08:{at:02}"),
        at + 0.25,
        17850 + at if at % 3 else None,
        "대한민국",
    ]
    for at in range(11)
]


def _text(value: object) -> str:
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, dt.datetime) else str(value)


def _objects() -> list[dict[str, object]]:
    return [dict(zip(NAMES, map(lambda v: _text(v) or None, row), strict=True)) for row in ROWS]


def make(folder: Path, ending: str, stem: str = "shop") -> Path:
    """Write ROWS as a file of one of the kinds."""
    path = folder / (stem + ending)
    if ending == ".parquet":
        columns = dict(zip(NAMES, map(list, zip(*ROWS, strict=True)), strict=True))
        table = pa.table(columns).set_column(
            0, "InvoiceNo", pa.array(columns["InvoiceNo"], pa.large_string())
        )
        pq.write_table(table, path, row_group_size=4)
    elif ending == ".xlsx":
        write_workbook(path, [list(NAMES), *ROWS])
    else:
        if ending.startswith(".csv"):
            text = "".join(",".join(map(_text, row)) + "\n" for row in [NAMES, *ROWS])
        else:
            text = "".join(
                json.dumps({"EventId": f"e{at}"} | row) + "\n" for at, row in enumerate(_objects())
            )
        path.write_bytes(gzip.compress(text.encode()) if ending.endswith(".gz") else text.encode())
    return path


def read(
    path: Path, fields: tuple[str, ...] = FIELDS, after: str | None = None, **options: object
) -> list[dict]:
    """Return all rows behind `after`."""
    source = open_source(path, **options)  # type: ignore[arg-type]
    return [row for block, _ in source.blocks(fields, after) for row in block.fields.to_pylist()]


def as_texts(rows: list[dict]) -> list[list[str]]:
    return [[_text(value) for value in row.values()][1:] for row in rows]


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, ending: str) -> None:
    source = open_source(make(tmp_path, ending), block_rows=4)
    assert isinstance(source, Source)
    assert as_texts(read(make(tmp_path, ending), block_rows=4)) == [list(map(_text, row)) for row in ROWS]


@pytest.mark.parametrize("ending", ENDINGS)
def test_reading_goes_on_behind_any_position(tmp_path: Path, ending: str) -> None:
    source = open_source(make(tmp_path, ending), block_rows=3)
    seen: list[dict] = []
    whole = read(make(tmp_path, ending))
    for block, position in source.blocks(FIELDS, None):
        seen += block.fields.to_pylist()
        assert seen + read(make(tmp_path, ending), after=position) == whole


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".csv.gz", ".xlsx"])
def test_rows_without_an_event_id_get_the_stem_and_their_number(tmp_path: Path, ending: str) -> None:
    ids = [row["EventId"] for row in read(make(tmp_path, ending, "online-retail"), block_rows=4)]
    assert ids == [f"online-retail-{at:09d}" for at in range(len(ROWS))]


def test_an_event_id_column_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("EventId,InvoiceNo\nx,1\n,2\n")
    assert [row["EventId"] for row in read(tmp_path / "a.csv", ("InvoiceNo", "EventId"))] == ["x", None]


def test_parquet_columns_keep_their_types(tmp_path: Path) -> None:
    block, _ = next(open_source(make(tmp_path, ".parquet")).blocks(FIELDS, None))
    expected = [
        pa.string(),
        pa.string(),
        pa.int64(),
        pa.timestamp("us"),
        pa.float64(),
        pa.int64(),
        pa.string(),
    ]
    assert block.fields.schema.types == expected


def test_blocks_stay_as_small_as_asked(tmp_path: Path) -> None:
    for ending in (".parquet", ".csv", ".xlsx"):
        blocks = [
            len(block) for block, _ in open_source(make(tmp_path, ending), block_rows=3).blocks(FIELDS, None)
        ]
        assert max(blocks) <= 3


def test_the_name_is_the_same_wherever_the_file_lies_and_another_for_other_bytes(tmp_path: Path) -> None:
    first = open_source(make(tmp_path, ".csv")).name
    (tmp_path / "b").mkdir()
    moved = make(tmp_path / "b", ".csv")
    assert open_source(moved).name == first
    moved.write_text(moved.read_text().replace("17851", "17859"))
    assert open_source(moved).name != first


@pytest.mark.parametrize("ending", ENDINGS)
def test_progress_ends_at_the_total(tmp_path: Path, ending: str) -> None:
    source = open_source(make(tmp_path, ending))
    list(source.blocks(FIELDS, None))
    assert source.done == source.total
    assert source.unit == ("rows" if ending in (".parquet", ".xlsx") else "bytes")


@given(bad=st.lists(st.sampled_from(["1,2", "1,2,3,4", '"a",b,c,"d"', "alone"]), max_size=4), data=st.data())
@settings(max_examples=40, deadline=None)
def test_csv_rows_with_a_wrong_number_of_columns_stay_in_their_place(
    tmp_path_factory: pytest.TempPathFactory, bad: list[str], data: st.DataObject
) -> None:
    lines = [f'{at},"x,{at}\ny",' for at in range(7)]
    for text in bad:
        lines.insert(data.draw(st.integers(0, len(lines))), text)
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_text("A,B,C\n" + "\n".join(lines))
    seen = [
        (
            block.raw.text(row).decode() if block.fault[row] else block.fields.to_pylist()[row]["A"],
            block.fault[row],
        )
        for block, _ in open_source(path, block_rows=3).blocks(("EventId", "A"), None)
        for row in range(len(block))
    ]
    fault = FAULTS.index("wrong_number_of_columns")
    assert seen == [(line, fault) if line in bad else (line.split(",")[0], 0) for line in lines]


def test_the_text_of_a_row_is_a_json_object_of_the_read_fields(tmp_path: Path) -> None:
    block, _ = next(
        open_source(make(tmp_path, ".parquet")).blocks(("EventId", "Quantity", "CustomerID"), None)
    )
    assert json.loads(block.raw.text(4)) == {
        "EventId": "shop-000000004",
        "Quantity": 1,
        "CustomerID": "17854",
    }


def test_csv_reads_semicolons_tabs_and_a_byte_order_mark(tmp_path: Path) -> None:
    for delimiter in ";\t":
        path = tmp_path / "t.csv"
        path.write_text(f"\ufeffA{delimiter}B\n1{delimiter}2,5\n")
        assert read(path, ("A", "B")) == [{"A": "1", "B": "2,5"}]


def test_csv_in_latin_1_names_the_option_and_reads_with_it(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("A,B\n1,£5\n1,£,3\n".encode("latin-1"))
    with pytest.raises(BadFile, match="near byte 6.*--encoding latin-1"):
        read(path, ("A", "B"))
    assert read(path, ("A", "B"), encoding="latin-1")[0] == {"A": "1", "B": "£5"}
    with pytest.raises(BadFile, match="no known encoding"):
        read(path, ("A", "B"), encoding="klingon")


def test_a_quote_that_is_not_closed_for_megabytes_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("A,B\n1,2\n" + '"open,2\n' + "3,4\n" * 3_000_000)
    with pytest.raises(BadFile, match="a quote is never closed"):
        read(path, ("A", "B"))


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    for ending in (".parquet", ".csv", ".xlsx"):
        with pytest.raises(
            BadFile, match=r"no column Tax, Shop; it has InvoiceNo.*Country.*cleanse rule file"
        ) as refusal:
            read(make(tmp_path, ending), ("EventId", "InvoiceNo", "Tax", "Shop"))
        assert str(refusal.value).startswith(f"shop{ending} has")


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("A,A\n1,2\n")
    with pytest.raises(BadFile, match=r"t\.csv has more than one column A"):
        read(tmp_path / "t.csv", ("A",))


def test_a_column_of_lists_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"A": [[1], [2]]}), tmp_path / "t.parquet")
    with pytest.raises(BadFile, match=r"column A of t\.parquet holds list"):
        read(tmp_path / "t.parquet", ("A",))


@pytest.mark.parametrize("ending", ENDINGS)
def test_missing_empty_and_damaged_files_say_so_in_one_line(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"t{ending}"
    with pytest.raises(BadFile, match="does not exist"):
        open_source(path)
    path.touch()
    with pytest.raises(BadFile, match="is empty"):
        open_source(path)
    if ending in (".parquet", ".xlsx") or ending.endswith(".gz"):
        path.write_bytes(make(tmp_path, ending, "whole").read_bytes()[:-30])
        with pytest.raises(BadFile, match=r"t\.") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_folders_and_unknown_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="is a folder"):
        open_source(tmp_path)
    (tmp_path / "t.doc").write_text("x")
    with pytest.raises(BadFile, match=r"unknown kind: .*\.parquet, \.csv"):
        open_source(tmp_path / "t.doc")


def test_a_workbook_gives_whole_numbers_and_all_sheets_of_the_same_header(tmp_path: Path) -> None:
    head = ["InvoiceNo", "CustomerID"]
    notes: list[object] = ["read me"]
    path = write_workbook(
        tmp_path / "t.xlsx", [head, [536365, 17850.0]], [notes], [head, ["C1", None], [1.5, 2]]
    )
    expected = [("536365", "17850"), ("C1", None), ("1.5", "2")]
    assert [tuple(row.values()) for row in read(path, ("InvoiceNo", "CustomerID"))] == expected


def test_a_workbook_reports_progress(tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    read(make(tmp_path, ".xlsx"), block_rows=5, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(5, 11), (10, 11), (11, 11)]


def test_json_lines_longer_than_memory_allows_are_cut_and_rejected(tmp_path: Path) -> None:
    path = tmp_path / "t.ndjson"
    long = b'{"A":"' + b"x" * (40 << 20) + b'"}'
    path.write_bytes(b'{"A":"1"}\n' + long + b'\n{"A":"2"}\n' + long)
    blocks = list(open_source(path).blocks(("A",), None))
    rows = [
        (row["A"], FAULTS[block.fault[at]])
        for block, _ in blocks
        for at, row in enumerate(block.fields.to_pylist())
    ]
    assert rows == [("1", ""), (None, "line_too_long"), ("2", ""), (None, "line_too_long")]
    assert blocks[-1][1] == str(path.stat().st_size)


@given(lines=st.lists(st.integers(0, 30), max_size=12), ends=st.booleans(), chunk=st.integers(1, 12))
@settings(deadline=None)
def test_chunks_of_json_lines_lose_nothing_but_the_ends_of_overlong_lines(
    tmp_path_factory: pytest.TempPathFactory, lines: list[int], ends: bool, chunk: int
) -> None:
    longest = 16
    texts = [bytes([97 + at]) * size for at, size in enumerate(lines)]
    data = b"\n".join(texts) + (b"\n" if ends and lines else b"")
    path = tmp_path_factory.mktemp("lines") / "t.ndjson"
    path.write_bytes(data)
    got = list(line_chunks(FileBytes(path), chunk=chunk, longest=longest))
    kept = b"".join(piece for piece, _ in got).split(b"\n")
    for text, left in zip(data.split(b"\n"), kept, strict=True):
        assert left == text or (len(text) > longest and left == text[: len(left)] and len(left) >= longest)
    assert all(data[at - 1 : at] == b"\n" or at == len(data) for _, at in got)
    assert [at for _, at in got][-1:] == ([len(data)] if data else [])
    assert sorted(at for _, at in got) == [at for _, at in got]


def test_numbers_of_any_size_become_ids() -> None:
    numbers = np.array([0, 7, 999_999_999, 10**9, 10**12])
    assert numbered("한-", numbers).to_pylist() == [f"한-{number:09d}" for number in numbers]
    assert numbered("", numbers[:2], np.array([False, True])).to_pylist() == ["000000000", None]


_EARLY, _LATE = map(dt.datetime.fromisoformat, ("1700-01-01", "2200-01-01"))
_TEXTS = st.none() | st.text(max_size=8)


@given(
    st.lists(
        st.tuples(
            _TEXTS,
            st.none() | st.integers(-(2**63), 2**63 - 1),
            st.none() | st.floats(),
            st.none() | st.datetimes(_EARLY, _LATE),
            st.none() | st.booleans(),
        ),
        max_size=6,
    ),
    _TEXTS.filter(bool),
    st.integers(0, 3),
)
@settings(deadline=None)
def test_ndjson_reads_back_as_the_columns_it_was_written_from(
    rows: list[tuple], name: str, skip: int
) -> None:
    types = [pa.string(), pa.int64(), pa.float64(), pa.timestamp("us"), pa.bool_()]
    columns = [pa.array([row[at] for row in rows], kind) for at, kind in enumerate(types)]
    batch = pa.RecordBatch.from_arrays(
        columns, names=[name, *"1234"] if name not in "1234" else list("abcde")
    )
    back = [json.loads(line) for line in to_ndjson(batch.slice(skip)).split(b"\n")[:-1]]
    assert len(back) == len(rows[skip:])
    for (text, count, number, moment, truth), got in zip(
        rows[skip:], map(list, map(dict.values, back)), strict=True
    ):
        assert got[0] == text
        assert got[1] == count
        assert got[2] == (number if number is not None and np.isfinite(number) else None)
        assert (got[3] and dt.datetime.fromisoformat(got[3])) == moment
        assert got[4] is truth


def test_the_real_data_reads_alike_from_parquet_and_from_its_csv(real_data: Path, tmp_path: Path) -> None:
    source = open_source(real_data)
    block, position = next(source.blocks(FIELDS, "500000"))
    assert source.total == 541_909
    assert block.fields.column("EventId")[0].as_py() == "online-retail-000500000"
    path = tmp_path / "online-retail.csv"
    with path.open("w", newline="") as file:
        rows = [
            dict(zip(FIELDS, (_text(v) for v in row.values()), strict=True))
            for row in block.fields.to_pylist()
        ]
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows)
    assert [list(map(_text, row.values())) for row in read(path)] == [list(row.values()) for row in rows]
    assert position == str(500_000 + len(block))
