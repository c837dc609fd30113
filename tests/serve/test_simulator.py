"""The simulator over HTTP: starts, is re-rated, pauses, stops, and reads nothing but what it was given."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from wire import line, ndjson

from dangol.config import Settings
from dangol.engine import Engine
from dangol.serve.models import SimulatorState
from dangol.serve.server import INPUTS, running

LINES = 3000


@pytest.fixture
def client(engine: Engine, settings: Settings, tmp_path: Path) -> Iterator[httpx.Client]:
    given = tmp_path / "given.ndjson"
    given.write_bytes(ndjson(*(line(n) for n in range(LINES))))
    inputs = settings.data / INPUTS
    inputs.mkdir()
    (inputs / "other.jsonl").write_bytes(ndjson(line(5000)))
    (inputs / "notes.txt").write_text("not purchases")
    with (
        running(engine, settings=engine.settings, simulator_file=given) as url,
        httpx.Client(base_url=url, timeout=20) as client,
    ):
        yield client


def state(client: httpx.Client) -> SimulatorState:
    return SimulatorState.model_validate(client.get("/v1/simulator").json())


def start(client: httpx.Client, **order: Any) -> httpx.Response:
    return client.post("/v1/simulator/start", json=order)


def until(client: httpx.Client, wanted: str) -> SimulatorState:
    for _ in range(500):
        now = state(client)
        if now.state == wanted:
            return now
        time.sleep(0.02)
    raise AssertionError(now)


def test_a_file_is_played_to_its_end_and_is_durable_then(client: httpx.Client) -> None:
    assert state(client).state == "idle"
    assert start(client, file="given.ndjson").status_code == 200
    ended = until(client, "finished")
    assert (ended.sent, ended.acknowledged, ended.failed) == (LINES, LINES, 0)
    assert client.get("/v1/status").json()["accepted"] == LINES


def test_it_is_re_rated_paused_and_stopped_while_it_plays(client: httpx.Client) -> None:
    start(client, file="given.ndjson", rate=20)
    assert client.patch("/v1/simulator", json={"rate": 500}).json()["rate"] == 500
    for _ in range(500):
        if state(client).sent >= 100:
            break
        time.sleep(0.02)
    assert client.patch("/v1/simulator", json={"paused": True}).json()["state"] == "paused"
    time.sleep(0.1)
    held = state(client).sent
    assert 100 <= held < LINES
    time.sleep(0.2)
    assert state(client).sent == held
    assert client.patch("/v1/simulator", json={"paused": False, "speed": 1e9}).json()["speed"] == 1e9
    stopped = client.post("/v1/simulator/stop").json()
    assert stopped["state"] in ("stopped", "finished")
    assert stopped["sent"] == stopped["acknowledged"]
    assert client.get("/v1/status").json()["events"] == stopped["sent"]


def test_the_generated_shop_plays_without_any_file(client: httpx.Client) -> None:
    start(client, rate=500)
    for _ in range(500):
        if state(client).acknowledged >= 50:
            break
        time.sleep(0.02)
    client.post("/v1/simulator/stop")
    assert client.get("/v1/status").json()["accepted"] > 0


def test_a_loop_begins_again_and_its_lines_are_duplicates(client: httpx.Client) -> None:
    start(client, file="other.jsonl", rate=200, loop=True)
    for _ in range(500):
        if state(client).acknowledged >= 3:
            break
        time.sleep(0.02)
    client.post("/v1/simulator/stop")
    status = client.get("/v1/status").json()
    assert (status["accepted"], status["duplicates"]) == (1, status["events"] - 1)


def test_it_offers_what_it_was_given_and_reads_nothing_else(client: httpx.Client, settings: Settings) -> None:
    assert state(client).files == ["generated", "given.ndjson", "other.jsonl"]
    for name in (
        "/etc/passwd",
        "../given.ndjson",
        "notes.txt",
        str(settings.data / INPUTS / "other.jsonl"),
        "",
    ):
        answer = start(client, file=name)
        assert answer.status_code == 404
        assert "it has generated, given.ndjson, other.jsonl." in answer.json()["detail"]
        assert "/v1/simulator" in answer.json()["next"]


@pytest.mark.parametrize("headers", [{}, {"content-type": "application/x-www-form-urlencoded"}])
def test_an_order_that_is_not_sent_as_json_is_told_so(client: httpx.Client, headers: dict[str, str]) -> None:
    answer = client.post("/v1/simulator/start", content=b'{"file": "generated"}', headers=headers)
    assert answer.status_code == 422
    assert "Content-Type: application/json" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("order", "status"),
    [
        ({"rate": 0}, 422),
        ({"rate": "fast"}, 422),
        ({"speed": -1}, 422),
        ({"rate": 1, "speed": 1}, 400),
        ({"file": "given.ndjson", "path": "/etc"}, 422),
    ],
)
def test_orders_that_make_no_sense_are_refused(
    client: httpx.Client, order: dict[str, Any], status: int
) -> None:
    answer = start(client, **order)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_only_a_playing_simulator_is_changed_and_only_one_plays(client: httpx.Client) -> None:
    assert client.patch("/v1/simulator", json={"rate": 5}).status_code == 400
    assert client.post("/v1/simulator/stop").status_code == 200
    start(client, file="given.ndjson", rate=10)
    assert start(client, file="given.ndjson").status_code == 400
