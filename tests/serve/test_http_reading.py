"""What is read over HTTP: customers, segments, changes, rejects, status, metrics, and the shape of errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from wire import line, ndjson

from dangol.config import Settings
from dangol.engine import open_engine
from dangol.serve import models
from dangol.serve.server import running

LINES = [line(n, CustomerID=str(12000 + n % 40), Quantity=1 + n % 9) for n in range(300)]
BODY = ndjson(*LINES, line(900, CustomerID=None), line(901, UnitPrice=0)) + b"{broken\n" + ndjson(LINES[0])


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """One shop for all tests here: they only read."""
    folder: Path = tmp_path_factory.mktemp("reading")
    settings = Settings(data=folder)
    with open_engine(settings) as engine:
        engine.start()
        with (
            running(engine, settings=engine.settings) as url,
            httpx.Client(base_url=url, timeout=20) as client,
        ):
            answer = client.post("/v1/events", content=BODY, headers={"content-type": "application/x-ndjson"})
            assert answer.status_code == 207
            yield client


def test_a_customer_is_found_by_id(client: httpx.Client) -> None:
    customer = models.Customer.model_validate(client.get("/v1/customers/12007").json())
    assert (customer.customer, customer.frequency) == ("12007", 8)
    assert customer.segment in ("vip", "dormant", "mid", "low")


def test_an_unknown_customer_is_404_and_named(client: httpx.Client) -> None:
    answer = client.get("/v1/customers/no%2Fbody")
    assert answer.status_code == 404
    told = answer.json()
    assert "no/body" in told["detail"]
    assert "dangol" not in told["detail"]
    assert told["next"] == "Check the id; GET /v1/customers lists them."


def test_pages_of_customers_hold_each_customer_once(client: httpx.Client) -> None:
    seen: list[str] = []
    after = None
    while True:
        params = {"limit": 7} | ({"after": after} if after else {})
        page = models.Customers.model_validate(client.get("/v1/customers", params=params).json())
        seen += [row.customer for row in page.customers]
        if (after := page.next) is None:
            break
    assert sorted(seen) == sorted({entry["CustomerID"] for entry in LINES})


def test_segments_add_up_to_the_customers_and_to_their_lists(client: httpx.Client) -> None:
    segments = models.Segments.model_validate(client.get("/v1/segments").json()).segments
    assert sum(segment.customers for segment in segments if segment.segment != "none") == 40
    for segment in segments:
        listed = client.get("/v1/customers", params={"segment": segment.segment, "limit": 1000}).json()
        assert len(listed["customers"]) == segment.customers


def test_the_cursor_walks_all_changes_once_and_stays_at_the_end(client: httpx.Client) -> None:
    everything = models.Changes.model_validate(client.get("/v1/changes", params={"limit": 1000}).json())
    walked, after = [], 0
    while page := client.get("/v1/changes", params={"after": after, "limit": 9}).json()["changes"]:
        walked += page
        after = page[-1]["seq"]
    assert [change["seq"] for change in walked] == [change.seq for change in everything.changes]
    assert client.get("/v1/changes", params={"after": after}).json() == {"changes": [], "next": after}


def test_changes_of_one_customer_are_that_customers_alone(client: httpx.Client) -> None:
    changes = client.get("/v1/changes", params={"customer": "12003"}).json()["changes"]
    assert changes and {change["customer"] for change in changes} == {"12003"}
    assert changes[0]["events"]


def test_rejects_come_with_their_reason_and_their_text(client: httpx.Client) -> None:
    rejects = models.RejectList.model_validate(client.get("/v1/rejects").json()).rejects
    assert {reject.raw for reject in rejects if reject.reason == "not_json"} == {"{broken"}
    assert len(rejects) == 2


def test_events_in_are_the_sum_of_what_became_of_them_in_status_and_metrics(client: httpx.Client) -> None:
    status = models.StatusNow.model_validate(client.get("/v1/status").json())
    parts = status.accepted + status.anonymous + status.rejected_total + status.duplicates
    assert (status.events, parts, status.duplicates) == (304, 304, 1)
    answer = client.get("/metrics")
    samples = [s for family in text_string_to_metric_families(answer.text) for s in family.samples]
    by_outcome = {s.labels["outcome"]: s.value for s in samples if s.name == "dangol_events_total"}
    assert (
        sum(by_outcome.values())
        == next(s.value for s in samples if s.name == "dangol_events_in_total")
        == 304
    )
    rejected = sum(s.value for s in samples if s.name == "dangol_rejected_total")
    assert by_outcome["rejected"] == rejected == 2
    assert sum(s.value for s in samples if s.name == "dangol_customers") == 40


def test_a_running_server_is_alive_and_ready(client: httpx.Client) -> None:
    assert client.get("/healthz").json()["status"] == "alive"
    assert client.get("/readyz").json() == {"status": "ready"}


def test_every_route_refuses_in_the_one_error_shape(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        address = path.replace("{customer_id}", "12007")
        wrong = next(m for m in ("DELETE", "PUT", "POST") if m.lower() not in operations)
        answer = client.request(wrong, address)
        assert (answer.status_code, answer.headers["content-type"]) == (405, "application/problem+json"), path
        problem = models.Problem.model_validate(answer.json())
        assert problem.status == 405 and problem.next and problem.type.startswith("urn:dangol:problem:")
        for operation in operations.values():
            errors = [
                r for status, r in operation["responses"].items() if status == "default" or status >= "400"
            ]
            assert errors and all("application/problem+json" in error["content"] for error in errors), path


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/nothing/here", 404),
        ("/static/nothing.js", 404),
        ("/v1/customers?segment=gold", 422),
        ("/v1/customers?limit=0", 422),
        ("/v1/customers?as_of=yesterday", 422),
        ("/v1/changes?after=-1", 422),
        ("/v1/changes?after=x", 422),
        ("/v1/rejects?limit=100000", 422),
        ("/v1/changes/stream?after=x", 422),
    ],
)
def test_bad_requests_come_back_as_problems(client: httpx.Client, address: str, status: int) -> None:
    answer = client.get(address)
    assert answer.status_code == status
    assert models.Problem.model_validate(answer.json()).status == status


def test_as_of_judges_customers_at_that_moment(client: httpx.Client) -> None:
    later = client.get("/v1/customers", params={"as_of": "2012-12-01T08:26:00Z", "limit": 1}).json()
    assert later["customers"][0]["recency_days"] == pytest.approx(731)


def test_the_plus_of_an_offset_may_come_as_a_blank(client: httpx.Client) -> None:
    for written in ("2012-12-01T09:26:00+01:00", "2012-12-01T09:26:00%2B01:00", "2012-12-01T09:26+0100"):
        assert client.get(f"/v1/customers?as_of={written}").json()["as_of"] == "2012-12-01T08:26:00Z"
    assert client.get("/v1/customers?as_of=2012-12-01+09:26").json()["as_of"] == "2012-12-01T09:26:00Z"
    assert "%2B" in client.get("/v1/customers?as_of=soon+01:00").json()["detail"]


def test_a_moment_before_the_clock_is_refused(client: httpx.Client) -> None:
    answer = client.get("/v1/customers", params={"as_of": "2001-01-01"})
    assert answer.status_code == 400
    assert "before the data's own time" in answer.json()["detail"]
