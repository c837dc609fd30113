"""The command line: what the contract promises of each command, its JSON and its exit codes."""

from __future__ import annotations

import csv
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from numba.core import event

from dangol.config import Settings
from dangol.core.schema import STATE
from dangol.engine import open_engine
from dangol.serve.cli import app, cli
from dangol.testing.shop import Shop, write_shop

Run = Callable[..., Result]
LINES = 4000
ONE_LINE = (
    b'{"EventId": "e1", "InvoiceNo": "1", "StockCode": "A", "Description": "a", "Quantity": 600,'
    b' "InvoiceDate": "2011-12-09T12:50:00", "UnitPrice": 2.55, "CustomerID": "12345", "Country": "France"}\n'
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shop") / "shop.ndjson"
    write_shop(path, Shop(customers=400, lines=LINES, seed=1))
    return path


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command on a data folder of the test's own."""

    def call(*args: object, **options: Any) -> Result:
        return CliRunner().invoke(cli, [*map(str, args), "--data", str(tmp_path / "data")], **options)

    return call


@pytest.fixture
def loaded(run: Run, shop: Path) -> dict[str, Any]:
    return answer(run("load", shop, "--json"))


def answer(result: Result) -> dict[str, Any]:
    """Return the one JSON object of a command that went well."""
    assert result.exit_code == 0, result.stderr
    value: dict[str, Any] = json.loads(result.stdout)
    return value


def refused(result: Result, code: int, word: str) -> None:
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.splitlines()[-1].startswith("dangol: ")
    assert word in result.stderr


def test_help_and_version_import_nothing_heavy() -> None:
    program = (
        "import sys; from dangol.serve.cli import cli\n"
        "heavy = {'numpy', 'numba', 'duckdb', 'pyarrow', 'fastapi', 'rich', 'httpx'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("args", [[], ["--help"], ["load", "--help"], ["model", "--help"]])
def test_help_says_how(args: list[str]) -> None:
    result = CliRunner().invoke(cli, args)
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")


def test_every_line_of_a_load_is_accounted_for(loaded: dict[str, Any]) -> None:
    parts = loaded["accepted"] + loaded["anonymous"] + sum(loaded["rejected"].values()) + loaded["duplicates"]
    assert loaded["events"] == LINES == parts
    assert min(loaded["accepted"], loaded["anonymous"], loaded["duplicates"], loaded["customers"]) > 0


def test_a_load_ends_with_a_model_of_its_own(loaded: dict[str, Any], run: Run) -> None:
    assert loaded["model"]["starting"] is False
    assert run("segments", "--json").exit_code == 0


def test_no_fit_leaves_the_starting_model(run: Run, shop: Path) -> None:
    assert answer(run("load", shop, "--json", "--no-fit"))["model"]["starting"] is True


def test_a_second_load_counts_duplicates_and_changes_nothing(
    loaded: dict[str, Any], run: Run, shop: Path
) -> None:
    before = answer(run("segments", "--json"))["segments"]
    again = answer(run("load", shop, "--json"))
    assert (again["events"], again["duplicates"], again["accepted"]) == (LINES, LINES, 0)
    assert answer(run("segments", "--json"))["segments"] == before


def test_several_files_and_standard_input_are_one_load(tmp_path: Path, shop: Path) -> None:
    lines = shop.read_bytes().splitlines(keepends=True)
    first = tmp_path / "first.ndjson"
    first.write_bytes(b"".join(lines[:1000]))
    command = [
        sys.executable,
        "-m",
        "dangol",
        "load",
        str(first),
        "-",
        "--json",
        "--data",
        str(tmp_path / "data"),
    ]
    done = subprocess.run(command, input=b"".join(lines[1000:3000]), capture_output=True, check=True)
    assert json.loads(done.stdout)["events"] == 3000


@pytest.mark.parametrize(
    ("args", "code", "word"),
    [
        (["load", "no-such-file.csv"], 2, "no-such-file.csv"),
        (["load"], 2, "FILE"),
        (["segments", "--nonsense"], 2, "--nonsense"),
        (["segments"], 1, "dangol load"),
        (["verify", "--json"], 1, "dangol load"),
        (["fit"], 1, "dangol load"),
        (["changes", "--limit", "0"], 2, "--limit"),
        (["replay", __file__, "--to", "http://127.0.0.1:1", "--rate", "0"], 2, "--rate"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(run: Run, args: list[str], code: int, word: str) -> None:
    result = run(*args)
    refused(result, code, word)
    assert len(result.stderr.splitlines()) == 1


def test_reading_makes_no_data_folder(run: Run, tmp_path: Path) -> None:
    run("fit")
    assert not (tmp_path / "data").exists()


def test_all_kinds_of_export_hold_the_same_rows(loaded: dict[str, Any], run: Run, tmp_path: Path) -> None:
    out = {kind: tmp_path / f"customers.{kind}" for kind in ("csv", "jsonl", "parquet")}
    for path in out.values():
        assert answer(run("export", "customers", "--out", path, "--json"))["rows"] == loaded["customers"]
    from_csv = list(csv.DictReader(out["csv"].read_text().splitlines()))
    from_jsonl = [json.loads(line) for line in out["jsonl"].read_text().splitlines()]
    from_parquet = pq.read_table(out["parquet"]).to_pylist()
    fields = ("customer", "segment", "frequency", "monetary", "next_segment")
    assert [[str(row[f] or "") for f in fields] for row in from_jsonl] == [
        [str(row[f] or "") for f in fields] for row in from_parquet
    ]
    assert [row["last_purchase_at"] or "" for row in from_jsonl] == [
        row["last_purchase_at"] for row in from_csv
    ]
    assert [row["customer"] for row in from_csv] == [row["customer"] for row in from_jsonl]
    assert sorted(tmp_path.glob(".*")) == []


def test_an_unknown_kind_of_export_is_refused_and_nothing_is_written(
    loaded: object, run: Run, tmp_path: Path
) -> None:
    refused(run("export", "customers", "--out", tmp_path / "customers.doc"), 2, ".parquet")
    assert not (tmp_path / "customers.doc").exists()


def test_as_of_a_later_moment_all_were_away_for_longer(loaded: object, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "then.jsonl"
    run("export", "customers", "--out", path, "--as-of", "2030-01-01")
    days = [json.loads(line)["recency_days"] for line in path.read_text().splitlines()]
    assert min(found for found in days if found is not None) > 1000


def test_as_of_a_moment_before_the_data_is_refused(loaded: object, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "then.jsonl"
    refused(run("customers", "--as-of", "2010-12-01"), 2, "before the data's own time")
    refused(run("export", "customers", "--out", path, "--as-of", "2010-12-01"), 2, "or later")
    assert not path.exists()


def test_one_of_something_is_singular(run: Run, tmp_path: Path) -> None:
    one = tmp_path / "one.ndjson"
    one.write_bytes(ONE_LINE)
    told = run("load", one).stdout + run("customers", "12345").stdout + run("verify").stdout
    for words in ("1 line in", "1 customer, 1 with", "1 live invoice\n", "Equal: 1 customer,"):
        assert words in told.replace("  ", "").replace(" \n", "\n"), told


def test_a_long_id_is_cut_in_tables_and_whole_in_json(run: Run, tmp_path: Path) -> None:
    long, file = "x" * 255, tmp_path / "long.ndjson"
    file.write_bytes(ONE_LINE.replace(b"12345", long.encode()))
    run("load", file)
    listed = run("customers").stdout
    assert long not in listed
    assert "…" in listed and "2011-12-09" in listed and "1,530.00" in listed
    assert "…" in run("changes").stdout
    assert answer(run("customers", "--json"))["customers"][0]["customer"] == long


def test_the_compiling_of_kernels_is_told_only_when_numba_compiles(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(app, "PATIENT_SECONDS", 0.05)
    with app.patience():
        time.sleep(0.2)
    assert capsys.readouterr().err == ""
    with app.patience(), event.trigger_event("numba:compile"):
        time.sleep(0.2)
    assert "Compiling the kernels" in capsys.readouterr().err


def test_a_listed_customer_can_be_looked_up(loaded: object, run: Run) -> None:
    row = answer(run("customers", "--limit", "1", "--segment", "vip", "--json"))["customers"][0]
    found = answer(run("customers", row["customer"], "--json"))
    assert {name: found[name] for name in row} == row
    assert row["customer"] in run("customers", row["customer"]).stdout


def test_an_unknown_customer_is_named(loaded: object, run: Run) -> None:
    refused(
        run("customers", "nobody", "--json"),
        1,
        "'nobody': check the id, or list some with `dangol customers`",
    )


def test_pages_of_customers_hold_each_once(loaded: dict[str, Any], run: Run) -> None:
    ids, cursor = [], "-1"
    while cursor:
        page = answer(run("customers", "--limit", "100", "--after", cursor, "--json"))
        ids += [row["customer"] for row in page["customers"]]
        cursor = page["next"]
    assert len(ids) == len(set(ids)) == loaded["customers"]


def test_segments_hold_each_customer_once(loaded: dict[str, Any], run: Run) -> None:
    rows = answer(run("segments", "--json"))["segments"]
    assert sum(row["customers"] for row in rows) == loaded["customers"]
    assert "우수 VIP" in run("segments").stdout


def test_changes_behind_a_cursor_follow_each_other(loaded: object, run: Run) -> None:
    first = answer(run("changes", "--after", "0", "--limit", "50", "--json"))
    second = answer(run("changes", "--after", first["next"], "--limit", "50", "--json"))
    assert [row["seq"] for row in first["changes"] + second["changes"]] == list(range(1, 101))


def test_changes_without_a_cursor_are_the_latest(loaded: object, run: Run) -> None:
    latest = answer(run("changes", "--limit", "3", "--json"))
    assert answer(run("changes", "--after", latest["next"], "--json"))["changes"] == []


def test_verify_says_equal(loaded: dict[str, Any], run: Run) -> None:
    verdict = answer(run("verify", "--json"))
    assert (verdict["equal"], verdict["differences"]) == (True, [])
    assert verdict["customers"] == loaded["customers"]


def test_verify_finds_a_state_that_was_tampered_with(loaded: object, run: Run, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "data" / "dangol.db") as database:
        seq, blob = database.execute("SELECT seq, states FROM deltas ORDER BY seq DESC").fetchone()
        states = np.frombuffer(blob, STATE).copy()
        states["frequency"][0] += 1
        database.execute("UPDATE deltas SET states = ? WHERE seq = ?", (states.tobytes(), seq))
    database.close()
    result = run("verify", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["equal"] is False
    assert "frequency" in {row["field"] for row in json.loads(result.stdout)["differences"]}


def test_a_model_is_fitted_compared_promoted_and_rolled_back(loaded: dict[str, Any], run: Run) -> None:
    fitted = answer(run("fit", "--seed", "3", "--json"))
    report = answer(run("model", "report", "--json"))
    assert (report["live"], report["candidate"]) == (1, fitted["version"]) == (1, 2)
    assert sum(move["customers"] for move in report["moves"]) == loaded["customers"]
    assert answer(run("model", "promote", "2", "--json"))["moved"] == report["moved"]
    assert answer(run("model", "rollback", "--json"))["version"] == 1
    assert {row["version"]: row["status"] for row in answer(run("model", "list", "--json"))["models"]}[
        1
    ] == "live"
    assert answer(run("model", "rollback", "--json"))["version"] == 0
    assert "none was before it" in run("model", "rollback").stderr


def test_rejected_lines_are_listed_and_stay_so_when_replayed_by_the_same_rules(
    loaded: dict[str, Any], run: Run
) -> None:
    rejects = answer(run("rejects", "list", "--limit", "1000", "--json"))["rejects"]
    assert len(rejects) == sum(loaded["rejected"].values())
    replayed = answer(run("rejects", "replay", "--json"))
    assert (replayed["events"], replayed["duplicates"]) == (len(rejects), len(rejects))


def test_erase_wants_a_yes_and_then_leaves_no_trace(loaded: object, run: Run, tmp_path: Path) -> None:
    customer = answer(run("customers", "--segment", "vip", "--limit", "1", "--json"))["customers"][0][
        "customer"
    ]
    refused(run("erase", customer), 2, "--yes")
    assert answer(run("erase", customer, "--yes", "--json"))["lines"] > 0
    refused(run("customers", customer), 1, customer)
    assert answer(run("verify", "--json"))["equal"]
    assert not any(
        customer.encode() in path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()
    )


@pytest.fixture
def writer(loaded: object, tmp_path: Path) -> Iterator[None]:
    with open_engine(Settings(data=tmp_path / "data")):
        yield


def test_readers_work_beside_an_engine(writer: None, run: Run, tmp_path: Path) -> None:
    for args in (
        ["segments"],
        ["customers"],
        ["changes"],
        ["verify"],
        ["rejects", "list"],
        ["model", "report", "0"],
    ):
        answer(run(*args, "--json"))
    answer(run("export", "customers", "--out", tmp_path / "beside.csv", "--json"))


def test_a_second_writer_is_refused(writer: None, run: Run, shop: Path) -> None:
    refused(run("load", shop), 1, "another dangol process")


def test_a_shop_is_generated_to_size_with_its_truth_beside_it(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "small.csv"
    made = answer(run("data", "generate", "--out", out, "--lines", "500", "--customers", "20", "--json"))
    assert len(out.read_text().splitlines()) == 501
    assert len(Path(made["truth"]).read_text().splitlines()) == 21


def test_the_real_data_loads_to_the_known_counts(run: Run, real_data: Path) -> None:
    report = answer(run("load", real_data, "--json"))
    assert (report["events"], report["accepted"]) == (541_909, 406_789)
    assert (report["anonymous"], sum(report["rejected"].values())) == (132_603, 2_517)
    assert (report["customers"], report["live_customers"]) == (4_371, 4_327)
    assert report["cancellations"] == {"matched": 7_516, "partly": 54, "unmatched": 1_335}
    assert answer(run("verify", "--json"))["equal"]
    assert answer(run("customers", "12346", "--json"))["frequency"] == 0
    found = answer(run("customers", "16446", "--json"))
    assert (found["frequency"], found["monetary"]) == (1, 2.9)
