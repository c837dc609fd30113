"""The real data gives the figures of the design, by every road."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dangol.adapters.files import open_source
from dangol.adapters.ndjson_write import to_ndjson
from dangol.serve.server import running
from dangol.verify import verify
from dangol.view import View
from kills import send_and_kill
from oracle import Line, by_the_book, engine_on, ingest, law_4_holds, states_of

pytestmark = pytest.mark.real_data
States = dict[str, tuple[Any, ...]]


@pytest.fixture(scope="module")
def table(real_data: Path) -> pa.Table:
    """All rows, with the event ids that `dangol load` gives them."""
    rows = pq.read_table(real_data)
    ids = [f"{real_data.stem}-{number:09d}" for number in range(len(rows))]
    return rows.append_column("EventId", pa.array(ids))


@pytest.fixture(scope="module")
def lines(table: pa.Table) -> list[Line]:
    """The lines with a customer that the definitions accept, read by hand."""
    columns = {name: table[name].to_pylist() for name in table.column_names if name != "InvoiceDate"}
    moments = table["InvoiceDate"].cast(pa.int64()).to_pylist()
    return [
        Line(id, str(customer), product.strip(" "), invoice, at, quantity, round(price * 1_000_000), country)
        for id, customer, product, invoice, at, quantity, price, country in zip(
            columns["EventId"], columns["CustomerID"], columns["StockCode"], columns["InvoiceNo"], moments,
            columns["Quantity"], columns["UnitPrice"], columns["Country"], strict=True,
        )
        if customer is not None and price > 0 and quantity and (quantity < 0) == invoice.startswith("C")
    ]  # fmt: skip


@pytest.fixture(scope="module")
def expected(lines: list[Line]) -> States:
    return by_the_book(lines)


@pytest.fixture(scope="module")
def loaded(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the file was loaded as `dangol load` does."""
    folder = tmp_path_factory.mktemp("real") / "data"
    with engine_on(folder) as engine:
        engine.load(open_source(real_data))
    return folder


def some_of(table: pa.Table, expected: States, step: int) -> tuple[pa.Table, States]:
    """All rows of every `step`-th customer and of the two who cancelled everything, and some anonymous ones."""
    wanted = {"12346", "16446", *sorted(expected)[::step]}
    ids = table["CustomerID"].to_pylist()
    rows = [n for n, id in enumerate(ids) if str(id) in wanted or (id is None and n % 1000 == 0)]
    return table.take(rows), {id: state for id, state in expected.items() if id in wanted}


def bodies(table: pa.Table, size: int) -> Iterator[bytes]:
    for begin in range(0, len(table), size):
        yield to_ndjson(table.slice(begin, size))


def shuffled(table: pa.Table, seed: int) -> pa.Table:
    return table.take(np.random.default_rng(seed).permutation(len(table)))


def test_the_counts_are_those_of_the_design(loaded: Path) -> None:
    view = View.open(loaded)
    counters = view.counters()
    view.close()
    assert counters["events"] == 541_909
    assert counters["accepted"] == 406_789
    assert counters["anonymous"] == 132_603
    assert counters["anonymous"] + sum(counters["rejected"].values()) == 135_120
    assert (counters["customers"], counters["live_customers"]) == (4_371, 4_327)
    assert counters["cancellations"] == {"matched": 7_516, "partly": 54, "unmatched": 1_335}
    assert law_4_holds(counters)


def test_whoever_cancelled_everything_is_no_regular(loaded: Path) -> None:
    view = View.open(loaded)
    first, second = view.customer("12346"), view.customer("16446")
    view.close()
    assert (first["frequency"], first["monetary"], first["segment"]) == (0, 0.0, "none")
    assert (second["frequency"], second["monetary"]) == (1, 2.90)


def test_every_customer_equals_an_independent_computation_to_the_last_penny(
    loaded: Path, expected: States
) -> None:
    assert len(expected) == 4_371
    assert states_of(loaded) == expected


def test_verify_says_equal(loaded: Path) -> None:
    found = verify(loaded)
    assert (found.differences, found.equal, found.customers) == ([], True, 4_371)


def test_a_fitted_model_judges_everybody_anew_in_one_commit(loaded: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(loaded, tmp_path / "copy")
    with engine_on(folder) as engine:
        seq = engine.view.last_change()
        model = engine.fit(promote=True)
        moved = engine.view.changes(after=seq, limit=10_000)
        assert moved
        assert {(change["cause"], change["model"]) for change in moved} == {("model", model.version)}
        assert verify(folder).differences == []
        told = engine.view.export()
        engine.promote(0)
        assert verify(folder).differences == []
        engine.promote(model.version)
        assert engine.view.export().equals(told)
    with engine_on(folder) as engine:
        assert engine.pipeline.book.model.version == model.version
        assert engine.view.export().equals(told)
    assert verify(folder).differences == []


def test_verify_names_what_was_tampered_with(loaded: Path, tmp_path: Path, lines: list[Line]) -> None:
    with engine_on(tmp_path) as engine:
        ingest(engine, b"".join(line.as_json() + b"\n" for line in lines[:500]))
        states = engine.pipeline.book.states.copy()
        states["monetary"][3] += 1
        states["frequency"][5] -= 1
        states["segment"][7] = 0
        engine.pipeline.store.write_snapshot(states)
        names = engine.pipeline.book.customers.texts().to_pylist()
    found = verify(tmp_path)
    assert not found.equal
    assert {(d["customer"], d["field"]) for d in found.differences} >= {
        (names[3], "monetary"), (names[5], "frequency"), (names[7], "segment"),
    }  # fmt: skip


def test_loading_the_file_again_changes_nothing(
    loaded: Path, real_data: Path, tmp_path: Path, expected: States
) -> None:
    folder = shutil.copytree(loaded, tmp_path / "copy")
    with engine_on(folder) as engine:
        before = engine.view.counters()
        receipts = []
        engine.load(open_source(real_data), on_commit=receipts.append)
        assert sum(receipt.duplicates for receipt in receipts) == 541_909
        after = engine.view.counters()
        assert after["accepted"] == before["accepted"]
        assert law_4_holds(after)
    assert states_of(folder) == expected


def test_an_interrupted_load_goes_on_where_it_stopped(
    real_data: Path, tmp_path: Path, expected: States
) -> None:
    receipts = []

    def stop_after(n: int) -> Any:
        def on_commit(receipt: Any) -> None:
            receipts.append(receipt)
            if len(receipts) == n:
                raise KeyboardInterrupt

        return on_commit

    for stop in (3, 7, 10_000):
        with engine_on(tmp_path) as engine:
            try:
                engine.load(open_source(real_data), on_commit=stop_after(stop))
            except KeyboardInterrupt:
                continue
    assert sum(receipt.events for receipt in receipts) == 541_909
    assert sum(receipt.duplicates for receipt in receipts) == 0
    assert states_of(tmp_path) == expected


def test_rows_shuffled_and_sent_twice_give_the_same_states(
    table: pa.Table, tmp_path: Path, expected: States
) -> None:
    with engine_on(tmp_path) as engine:
        for seed in (1, 2):
            for body in bodies(shuffled(table, seed), 50_000):
                ingest(engine, body)
        counters = engine.view.counters()
    assert counters["duplicates"] == 541_909
    assert (counters["accepted"], counters["anonymous"]) == (406_789, 132_603)
    assert states_of(tmp_path) == expected
    assert verify(tmp_path).differences == []


@pytest.mark.parametrize(("size", "step"), [(1, 800), (7, 200)])
def test_small_batches_give_the_same_states(
    table: pa.Table, expected: States, tmp_path: Path, size: int, step: int
) -> None:
    rows, states = some_of(table, expected, step)
    with engine_on(tmp_path) as engine:
        for body in bodies(shuffled(rows, 3), size):
            ingest(engine, body)
    assert states_of(tmp_path) == states
    assert verify(tmp_path).differences == []


@pytest.mark.slow
@pytest.mark.timeout(1800)  # 77,000 synced commits
def test_batches_of_seven_of_the_whole_file_give_the_same_states(
    table: pa.Table, tmp_path: Path, expected: States
) -> None:
    with engine_on(tmp_path) as engine:
        for body in bodies(table, 7):
            ingest(engine, body)
    assert states_of(tmp_path) == expected


def test_over_http_the_states_are_the_same(table: pa.Table, expected: States, tmp_path: Path) -> None:
    rows, states = some_of(table, expected, 150)
    with engine_on(tmp_path) as engine:
        engine.start()
        with (
            running(engine, settings=engine.settings) as url,
            httpx.Client(base_url=url, timeout=20) as client,
        ):
            for body in bodies(shuffled(rows, 4), 500):
                answer = client.post(
                    "/v1/events", content=body, headers={"Content-Type": "application/x-ndjson"}
                )
                assert answer.status_code in (200, 207)
            told = client.get("/v1/customers/16446").json()
            assert (told["frequency"], told["monetary"]) == (1, 2.9)
    assert states_of(tmp_path) == states


@pytest.mark.slow
def test_after_20_kills_of_the_server_the_whole_file_has_the_same_states(
    table: pa.Table, tmp_path: Path, expected: States
) -> None:
    texts = list(bodies(shuffled(table, 5), 2000))
    sizes = [body.count(b"\n") for body in texts]
    assert send_and_kill(tmp_path, texts, sizes, kills=20, seed=5) == 20
    assert states_of(tmp_path) == expected
    assert verify(tmp_path).differences == []
