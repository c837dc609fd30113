"""The bench measures what it says and checks what it measured; how fast anything is, is no test."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dangol.bench import child, jobs, living, loading, oracle, peers
from dangol.bench.child import JobFailed, answer_of, run_job
from dangol.bench.inputs import Inputs, Sizes
from dangol.bench.main import CASES, main, run
from dangol.bench.peers import PEERS, run_peer
from dangol.bench.rows import Row, as_json, as_markdown, as_text, put_table
from dangol.errors import BadFile, UsageError
from dangol.testing.shop import Shop

TINY = Sizes(
    generated_lines=1500,
    copies=2,
    http_lines=1000,
    http_bodies=(100,),
    connections=2,
    rates=(500,),
    latency_seconds=0.4,
    bodies_per_second=50,
    growth_lines=600,
    growth_times=2,
    scale_lines=(500, 1000),
    scale_customers=(30, 60),
    score_customers=500,
    commit_lines=(1, 20),
    commits=4,
    repeats=1,
)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run jobs here: a fresh process for each would take a second; `test_a_job_runs_…` crosses that line."""

    def here(job: Callable[..., dict[str, Any]], **arguments: Any) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(json.dumps(job(**json.loads(json.dumps(arguments, default=str)))))
        return answer

    for module in (loading, living):
        monkeypatch.setattr(module, "run_job", here)
    monkeypatch.setattr(loading, "PEERS", ())


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Path]:
    yield Inputs(tmp_path, None, TINY).parquet()


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("case", CASES)
def test_each_case_runs_and_its_states_equal_the_batch_oracle(case: str, tmp_path: Path) -> None:
    seen: list[Row] = []
    rows = run([case], None, True, seen.append, sizes=TINY, scratch=tmp_path)
    assert rows == seen
    assert {row.case for row in rows} == {case}
    assert all(row.value is not None and row.value > 0 for row in rows)


@pytest.mark.usefixtures("in_process")
def test_a_case_fails_loudly_when_its_final_states_are_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = oracle.batch_states

    def wrong(file: Path) -> pa.Table:
        states = right(file)
        money = pa.array(states["monetary"].to_numpy() + (np.arange(len(states)) == 3))
        return states.set_column(states.column_names.index("monetary"), "monetary", money)

    monkeypatch.setattr(oracle, "batch_states", wrong)
    with pytest.raises(JobFailed, match="monetary of 1 customers differs"):
        run(["load-parquet"], None, True, sizes=TINY, scratch=tmp_path)


def test_the_batch_oracle_takes_a_cancellation_from_the_latest_earlier_purchase(tmp_path: Path) -> None:
    rows = [("1", "A", 5, 1), ("2", "A", 5, 2), ("C3", "A", -6, 3), ("4", "A", 1, 4), ("5", "B", 2, 0)]
    table = pa.table(
        {
            "InvoiceNo": [row[0] for row in rows],
            "StockCode": [row[1] for row in rows],
            "Quantity": [row[2] for row in rows],
            "InvoiceDate": pa.array([row[3] * 1_000_000 for row in rows], pa.timestamp("us")),
            "UnitPrice": [2.5] * 5,
            "CustomerID": [7] * 5,
        }
    )
    pq.write_table(table, tmp_path / "lines.parquet")
    found = oracle.batch_states(tmp_path / "lines.parquet").to_pylist()
    assert found == [{"customer": "7", "frequency": 3, "monetary": 17_500_000, "last": 4_000_000}]


@pytest.mark.real_data
def test_the_batch_oracle_agrees_with_the_known_facts_of_the_real_data(real_data: Path) -> None:
    states = oracle.batch_states(real_data)
    found = {row["customer"]: row for row in states.to_pylist()}
    assert len(found) == 4371
    assert sum(row["frequency"] > 0 for row in found.values()) == 4327
    assert (found["12346"]["frequency"], found["12346"]["monetary"]) == (0, 0)
    assert (found["16446"]["frequency"], found["16446"]["monetary"]) == (1, 2_900_000)


def test_copies_share_no_event_and_no_customer(tmp_path: Path) -> None:
    lines = Inputs(tmp_path, None, TINY).ndjson(2).read_bytes().splitlines()
    read = [json.loads(line) for line in lines]
    first, second = read[: len(read) // 2], read[len(read) // 2 :]
    for name in ("EventId", "CustomerID", "InvoiceNo"):
        assert not {line[name] for line in first if line[name]} & {line[name] for line in second}
    assert max(line["InvoiceDate"] or "" for line in first) < min(
        line["InvoiceDate"] or "9" for line in second
    )


def test_the_generated_shop_stands_in_for_a_file(shop: Path) -> None:
    assert pq.ParquetFile(shop).metadata.num_rows == TINY.generated_lines
    assert pq.ParquetFile(shop).schema_arrow.names == next(Shop(customers=5, lines=9).batches()).schema.names


def test_a_job_runs_in_a_process_of_its_own_and_tells_its_usage(shop: Path, tmp_path: Path) -> None:
    told = run_job(jobs.copy_synced, file=shop, out=tmp_path / "copy")
    assert told["lines"] == TINY.generated_lines
    assert min(told["wall"], told["cpu"], told["peak_rss_mb"], told["peak_anon_mb"]) > 0


def test_a_job_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match=r"copy_synced failed: FileNotFoundError: .*missing\.parquet"):
        run_job(jobs.copy_synced, file=tmp_path / "missing.parquet", out=tmp_path / "copy")
    with pytest.raises(JobFailed, match="exit code 3"):
        answer_of("a peer", [sys.executable, "-c", "raise SystemExit(3)"])


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(JobFailed, match="serve failed: the data folder"),
        child.serving(living.serve, folder=tmp_path / "file"),
    ):
        pass


def test_usage_counts_the_cpu_of_this_process_alone() -> None:
    with child.measured() as usage:
        before = os.times()
        sum(range(200_000))
        after = os.times()
    spent = after.user + after.system - before.user - before.system
    assert usage.cpu >= spent - 0.02
    assert usage.figures(10)["lines_per_cpu_second"] == pytest.approx(10 / usage.cpu)


@pytest.mark.parametrize(
    ("value", "lower", "verdict"),
    [
        (2.0, False, "misses"),
        (3.5, False, "meets"),
        (6.0, False, "meets the aim"),
        (2.0, True, "meets the aim"),
    ],
)
def test_a_verdict_compares_the_value_with_its_target(value: float, lower: bool, verdict: str) -> None:
    minimum, aim = (5.0, 3.0) if lower else (3.0, 5.0)
    row = Row(case="c", what="w", value=value, unit="s", minimum=minimum, aim=aim, lower=lower)
    assert row.verdict == verdict


def test_a_verdict_on_a_ratio_compares_the_ratio() -> None:
    row = Row(case="c", what="w", value=50, unit="s", limit="l", limit_value=100, minimum=0.3, of_ratio=True)
    assert (row.ratio, row.verdict) == (0.5, "meets")
    assert "ratio 0.5; target >= 0.3x: meets" in as_text(row)


def test_a_peer_that_is_not_there_is_a_row_without_a_verdict(tmp_path: Path) -> None:
    told = run_peer(PEERS[0], tmp_path / "lines.ndjson", {}, tmp_path)
    assert told == "not installed: `make bench-peers` in a checkout installs it"
    row = Row(
        case="c", what="w", value=1.0, unit="s", limit="a peer", minimum=2, of_ratio=True, note=str(told)
    )
    assert row.verdict == ""
    assert "not measured" in as_text(row)


def test_a_peer_that_comes_to_another_result_is_an_error(tmp_path: Path) -> None:
    (tmp_path / ".bench-peers" / "bin").mkdir(parents=True)
    (tmp_path / ".bench-peers" / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / ".bench-peers" / "lib" / "python3" / "site-packages" / "toy").mkdir(parents=True)
    scripts = tmp_path / "benchmarks" / "peers"
    scripts.mkdir(parents=True)
    (scripts / "toy.py").write_text('print(\'{"customers": 4, "frequency": 9, "monetary": 1}\')')
    peer = peers.Peer(name="Toy", script="toy.py", package="toy", minimum=1)
    limit = {"customers": 4, "frequency": 9, "monetary": 2}
    with pytest.raises(JobFailed, match="Toy found monetary 1, DuckDB 2"):
        run_peer(peer, tmp_path / "lines.ndjson", limit, tmp_path)


def test_the_table_and_the_json_hold_every_row() -> None:
    rows = [Row(case=name, what="lines|a second", value=1234.5, unit="lines/s", minimum=1) for name in "ab"]
    assert as_markdown(rows).count("\n| ") == 2
    assert "lines/a second" in as_markdown(rows)
    assert [row["verdict"] for row in as_json(rows)["rows"]] == ["meets", "meets"]


def test_a_new_table_replaces_the_old_one_in_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nafter\n")
    put_table(page, [Row(case="new", what="w", value=1.0, unit="s")])
    text = page.read_text()
    assert text.startswith("before\n<!-- measured: begin -->\n| case |")
    assert text.endswith("\n<!-- measured: end -->\nafter\n")
    assert "old" not in text
    with pytest.raises(BadFile, match=r"other\.md is no page with the lines"):
        put_table(tmp_path / "other.md", [])


def test_the_page_on_performance_tells_of_every_case() -> None:
    page = (Path(__file__).parents[1] / "docs" / "performance.md").read_text(encoding="utf-8")
    assert [name for name in CASES if f"| `{name}` |" not in page] == []
    assert "<!-- measured: begin -->\n" in page
    assert "<!-- measured: end -->\n" in page


def test_an_unknown_case_names_those_there_are() -> None:
    with pytest.raises(UsageError, match="there is no benchmark 'lod': the cases are load-parquet"):
        run(["lod"], None, True)


def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a parquet file"):
        run(["load-parquet"], tmp_path / "lines.csv", True, scratch=tmp_path)


@pytest.mark.usefixtures("in_process")
def test_the_command_writes_json_or_a_table_to_standard_output(
    shop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dangol.bench.main.QUICK", TINY)
    assert main(["load-parquet", "--quick", "--json", "--file", str(shop)]) == 0
    told = capsys.readouterr()
    assert {row["case"] for row in json.loads(told.out)["rows"]} == {"load-parquet"}
    assert "load-parquet" in told.err
    assert main(["load-parquet", "--quick", "--markdown", "--file", str(shop)]) == 0
    assert capsys.readouterr().out.startswith("| case | what | value |")
