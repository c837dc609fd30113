"""Who may call: keys, host names, origins; and what the server refuses to be started with."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from wire import line

from dangol.config import Settings
from dangol.engine import Engine, open_engine
from dangol.errors import UsageError
from dangol.serve.guard import is_loopback
from dangol.serve.server import running


@pytest.fixture
def keyed(tmp_path: Path) -> Iterator[httpx.Client]:
    with open_engine(Settings(data=tmp_path / "data", api_key="s3cret")) as engine:
        engine.start()
        with running(engine, settings=engine.settings) as url, httpx.Client(base_url=url) as client:
            yield client


def test_with_a_key_the_data_needs_it_and_the_rest_does_not(keyed: httpx.Client) -> None:
    client = keyed
    for address in ("/v1/status", "/v1/customers", "/v1/nothing", "/metrics"):
        refused = client.get(address)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (
            401,
            'Bearer realm="dangol"',
        )
        assert refused.json()["next"]
    assert client.post("/v1/events", json=line(1)).status_code == 401
    for address in ("/", "/docs", "/healthz", "/readyz", "/static/page.css"):
        assert client.get(address).status_code == 200
    client.headers["authorization"] = "Bearer wrong"
    assert client.get("/v1/status").status_code == 401
    client.headers["authorization"] = "Bearer s3cret"
    assert client.post("/v1/events", json=line(1)).status_code == 200
    assert client.get("/v1/status", headers={"host": "shop.example"}).status_code == 200


def test_without_a_key_a_foreign_host_name_is_refused(client: httpx.Client) -> None:
    answer = client.get("/v1/status", headers={"host": "rebound.example:8787"})
    assert answer.status_code == 403
    assert client.get("/v1/status", headers={"host": "localhost:8787"}).status_code == 200


def test_a_page_of_another_origin_changes_nothing(client: httpx.Client) -> None:
    own = str(client.base_url).rstrip("/")
    assert (
        client.post("/v1/events", json=line(1), headers={"origin": "http://evil.example"}).status_code == 403
    )
    assert client.post("/v1/simulator/stop", headers={"origin": "null"}).status_code == 403
    assert client.post("/v1/events", json=line(1), headers={"origin": own}).status_code == 200


def test_every_answer_is_hardened(client: httpx.Client) -> None:
    for address in ("/", "/v1/status", "/nothing", "/static/live.js"):
        headers = client.get(address).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe-inline" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_other_machines_are_not_served_without_a_key(engine: Engine) -> None:
    with (
        pytest.raises(UsageError, match=r"DANGOL_API_KEY"),
        running(engine, "0.0.0.0", settings=engine.settings),
    ):
        pass


def test_a_port_in_use_is_named(engine: Engine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with (
            pytest.raises(UsageError, match=f"Port {port} .* in use"),
            running(engine, port=port, settings=engine.settings),
        ):
            pass


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False)]
    + [("192.168.0.4", False), ("::", False), ("localhost.example", False), ("127.0.0.1.example", False)],
)
def test_loopback_is_told_from_the_rest(host: str, own: bool) -> None:
    assert is_loopback(host) is own
