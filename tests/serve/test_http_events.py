"""POST /v1/events: every kind of body, partial acceptance, limits, and what an answer promises."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import httpx
import pytest
from wire import line, ndjson

from dangol.config import Settings
from dangol.engine import Engine, open_engine
from dangol.serve.events import to_ndjson_lines
from dangol.serve.server import running
from dangol.view import View

NDJSON = {"content-type": "application/x-ndjson"}
BODIES = {
    "object": json.dumps(line(1)).encode(),
    "pretty object": json.dumps(line(1), indent=2).encode(),
    "array": json.dumps([line(1), line(2)]).encode(),
    "pretty array": json.dumps([line(1), line(2)], indent=2).encode(),
    "ndjson": ndjson(line(1), line(2)),
    "ndjson without a last line end": ndjson(line(1), line(2)).rstrip(),
    "ndjson with blank lines": b"\n" + ndjson(line(1)) + b"\n\n" + ndjson(line(2)),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_each_kind_of_body_is_taken_plain_and_gzipped(client: httpx.Client, body: bytes) -> None:
    plain = client.post("/v1/events", content=body)
    zipped = client.post("/v1/events", content=gzip.compress(body), headers={"content-encoding": "gzip"})
    count = 1 if "object" in str([k for k, v in BODIES.items() if v == body]) else 2
    assert (plain.status_code, plain.json()["accepted"]) == (200, count)
    assert (zipped.status_code, zipped.json()["duplicates"]) == (200, count)


def test_a_bad_line_takes_no_good_line_with_it(client: httpx.Client) -> None:
    body = (
        ndjson(line(1)) + b"{broken\n" + ndjson(line(2, UnitPrice="cheap"), line(3), line(4, CustomerID=None))
    )
    answer = client.post("/v1/events", content=body, headers=NDJSON)
    said = answer.json()
    assert answer.status_code == 207
    assert [said[k] for k in ("events", "accepted", "anonymous", "rejected", "duplicates")] == [5, 2, 1, 2, 0]
    assert [reject["line"] for reject in said["rejects"]] == [2, 3]
    assert said["rejects"][0]["reason"] == "not_json"
    assert said["rejects"][1]["field"] == "UnitPrice"


def test_an_element_of_an_array_that_is_no_object_is_one_reject(client: httpx.Client) -> None:
    said = client.post("/v1/events", json=[line(1), 7, "x", None, [line(2)]]).json()
    assert (said["accepted"], [reject["line"] for reject in said["rejects"]]) == (1, [2, 3, 4, 5])


def test_a_long_list_of_rejects_is_cut_and_says_so(client: httpx.Client) -> None:
    said = client.post(
        "/v1/events", content=b"".join(b"%d\n" % n for n in range(1500)), headers=NDJSON
    ).json()
    assert (said["rejected"], len(said["rejects"]), said["rejects_left_out"]) == (1500, 1000, 500)


def test_an_answer_means_that_another_process_can_read_the_lines(
    client: httpx.Client, settings: Settings
) -> None:
    client.post("/v1/events", content=ndjson(line(7, CustomerID="durable")))
    view = View.open(settings.data)
    assert view.customer("durable")["frequency"] == 1
    view.close()


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {}, 400),
        (b" \n ", {}, 400),
        (b"{broken", {"content-type": "application/json"}, 400),
        (b'[{"a": 1},', {"content-type": "application/json"}, 400),
        (b"InvoiceNo,StockCode\n1,2\n", {}, 400),
        (b"[" * 100_000, {}, 400),
        (b"not gzip", {"content-encoding": "gzip"}, 400),
        (gzip.compress(b"{}" * 50, mtime=0)[:-9], {"content-encoding": "gzip"}, 400),
        (b"a,b", {"content-type": "text/csv"}, 415),
        (b"{}", {"content-encoding": "br"}, 415),
        (b"x" * ((1 << 20) + 1), {}, 413),
        (gzip.compress(b"\n" * (1 << 26), mtime=0), {"content-encoding": "gzip"}, 413),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_no_body_of_lines_is_refused_as_a_whole(
    client: httpx.Client, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = client.post("/v1/events", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "next"} <= answer.json().keys()


def test_a_body_over_the_limit_is_told_the_limit(client: httpx.Client) -> None:
    chunks = (b" " * 65536 for _ in range(40))  # no length given: found out on the way
    answer = client.post("/v1/events", content=chunks)
    assert answer.status_code == 413
    assert str(1 << 20) in answer.json()["detail"]


def test_gzip_members_may_be_joined(client: httpx.Client) -> None:
    body = gzip.compress(ndjson(line(1))) + gzip.compress(ndjson(line(2)))
    assert (
        client.post("/v1/events", content=body, headers={"content-encoding": "gzip"}).json()["accepted"] == 2
    )


def test_a_full_queue_asks_to_come_back(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data", max_body_bytes=1000, queue_bytes=1000)
    with open_engine(settings) as engine:
        engine.start()
        with running(engine, settings=engine.settings) as url, engine._lock:  # so that no commit gets through
            engine.submit(b" " * 999)
            answer = httpx.post(f"{url}/v1/events", json=line(1))
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1


def test_an_engine_that_cannot_store_says_so(client: httpx.Client, engine: Engine) -> None:
    engine.stop()
    assert client.post("/v1/events", json=line(1)).status_code == 503
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200


def test_ndjson_is_handed_on_as_it_came() -> None:
    body = b'{"a": 1}\n{"b":\t2}\r\n'
    assert to_ndjson_lines(body, ndjson=False) is body
    assert to_ndjson_lines(b"anything", ndjson=True) == b"anything"
