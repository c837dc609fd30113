"""The change stream: complete, resumable, quiet when nothing happens, and no obstacle to going down."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from wire import line, ndjson

from dangol.engine import Engine
from dangol.serve import stream
from dangol.serve.server import running


def events(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    for text in answer.iter_lines():
        if text.startswith("data: "):
            yield json.loads(text[6:])


def take(client: httpx.Client, count: int, **request: Any) -> list[dict[str, Any]]:
    with client.stream("GET", "/v1/changes/stream", **request) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        found = events(answer)
        return [next(found) for _ in range(count)]


def send(client: httpx.Client, first: int) -> None:
    lines = [line(n, CustomerID=f"c{n}") for n in range(first, first + 5)]
    assert client.post("/v1/events", content=ndjson(*lines)).status_code == 200


def test_the_stream_is_the_list_of_changes(client: httpx.Client) -> None:
    send(client, 0)
    streamed = take(client, 5, params={"after": 0})
    assert streamed == client.get("/v1/changes").json()["changes"]


def test_a_reader_that_comes_back_goes_on_behind_its_last_event(client: httpx.Client) -> None:
    send(client, 0)
    first = take(client, 2, params={"after": 0})
    rest = take(client, 3, params={"after": 0}, headers={"last-event-id": str(first[-1]["seq"])})
    assert [change["customer"] for change in first + rest] == [f"c{n}" for n in range(5)]


def test_a_new_reader_gets_what_comes_from_now_on(client: httpx.Client) -> None:
    send(client, 0)
    with client.stream("GET", "/v1/changes/stream") as answer:
        pieces = answer.iter_lines()
        assert next(pieces).startswith("retry")
        send(client, 5)
        data = next(text for text in pieces if text.startswith("data: "))
    assert json.loads(data[6:])["customer"] == "c5"


def test_a_quiet_stream_says_that_it_lives(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.05)
    with client.stream("GET", "/v1/changes/stream") as answer:
        assert any(text == ": heartbeat" for text in answer.iter_lines())


def test_an_open_stream_does_not_keep_the_server_up(engine: Engine) -> None:
    with httpx.Client() as client:
        with running(engine, settings=engine.settings) as url:
            answer = client.send(client.build_request("GET", f"{url}/v1/changes/stream"), stream=True)
            next(answer.iter_lines())
            began = time.monotonic()
        assert time.monotonic() - began < 5
        answer.close()
