"""The replay client: every line acknowledged, whatever the server answers in between."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from wire import line, ndjson

from dangol.errors import UsageError
from dangol.serve.replay import ReplayProgress, replay


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shop.ndjson"
    path.write_bytes(ndjson(*(line(n) for n in range(1200))) + b"{broken\n")
    return path


class Moody(BaseHTTPRequestHandler):
    """Fails in a new way at each request, and takes every third body."""

    protocol_version = "HTTP/1.1"
    taken: list[bytes]
    moods: list[int]

    def do_GET(self) -> None:
        self.answer(200, b"{}")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        mood = self.moods.pop(0) if self.moods else 200
        if mood == 0:
            self.close_connection = True
            return  # the connection ends with no answer
        if mood == 200:
            self.taken.append(body)
        self.answer(mood, b'{"accepted": %d}' % body.count(b"\n") if mood == 200 else b'{"detail": "no"}')

    def answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def moody() -> Any:
    kind = type("Handler", (Moody,), {"taken": [], "moods": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield kind, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_replay_brings_every_line_in_and_a_second_one_changes_nothing(url: str, file: Path) -> None:
    first, second = replay(file, url), replay(file, url, connections=1)
    assert (first.sent, first.acknowledged, first.failed) == (1201, 1201, 0)
    assert (first.accepted, first.rejected, second.duplicates) == (1200, 1, 1201)
    assert httpx.get(f"{url}/v1/status").json()["events"] == 2402


def test_rows_of_a_table_get_the_ids_that_loading_gives_them(url: str, tmp_path: Path) -> None:
    columns = [name for name in line(0) if name != "EventId"]
    rows = [",".join(str(line(n)[name]) for name in columns) for n in range(50)]
    path = tmp_path / "till.csv"
    path.write_text("\n".join([",".join(columns), *rows]) + "\n")
    assert replay(path, url).accepted == 50
    change = httpx.get(f"{url}/v1/changes", params={"customer": "12000"}).json()["changes"][0]
    assert change["events"] == ["till-000000000"]


@pytest.mark.parametrize("moods", [[429, 503, 500], [0, 0, 200, 0], [413, 200, 413]])
def test_what_is_not_acknowledged_is_sent_again(moody: Any, file: Path, moods: list[int]) -> None:
    handler, url = moody
    handler.moods += moods
    result = replay(file, url, connections=1)
    assert (result.sent, result.acknowledged, result.error) == (1201, 1201, None)
    assert b"".join(handler.taken) == file.read_bytes()


def test_a_refusal_that_will_not_change_ends_the_replay(moody: Any, file: Path) -> None:
    handler, url = moody
    handler.moods += [401] * 100
    result = replay(file, url)
    assert (result.acknowledged, result.failed) == (0, result.sent)
    assert result.error == "HTTP 401: no"


def test_a_server_that_stays_away_ends_the_replay(moody: Any, file: Path) -> None:
    handler, url = moody
    handler.moods += [503] * 10_000
    result = replay(file, url, give_up_after=0.2)
    assert result.failed == result.sent > 0
    assert "503" in str(result.error)


def test_progress_is_told_and_a_rate_is_kept(url: str, file: Path) -> None:
    told: list[ReplayProgress] = []
    result = replay(file, url, rate=2500, on_progress=told.append)
    assert result.acknowledged == 1201
    assert result.seconds >= 0.4
    assert told and [p.sent for p in told] == sorted(p.sent for p in told)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("kafka://broker:9092/events", "extra"),
        ("eventhubs://shop/events", "extra"),
        ("localhost:8787", "http://HOST:PORT"),
        ("http://127.0.0.1:9", "dangol serve"),
    ],
)
def test_a_target_that_cannot_be_reached_is_named(file: Path, target: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        replay(file, target)
