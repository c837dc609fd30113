"""The commands that run for a while: `demo`, `serve` and `replay`, and what Ctrl-C does to them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from dangol.errors import NotFound
from dangol.serve.cli import cli
from dangol.serve.cli.demo_source import find_source
from dangol.testing.shop import Shop, write_shop
from dangol.view import View

LINES = 3000


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shop") / "shop.ndjson"
    write_shop(path, Shop(customers=300, lines=LINES, seed=5))
    return path


def start(*args: object, **options: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "dangol", *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def run(*args: object) -> dict[str, Any]:
    result = CliRunner().invoke(cli, [*map(str, args), "--json"])
    assert result.exit_code == 0, result.stderr
    value: dict[str, Any] = json.loads(result.stdout)
    return value


def test_the_demo_plays_to_the_end_and_sums_up(tmp_path: Path, shop: Path) -> None:
    flags = ["--exit-when-done", "--no-browser", "--rate", 20_000, "--port", 0]
    report = run("demo", "--file", shop, "--data", tmp_path / "data", *flags)
    assert report["events"] == LINES
    assert run("verify", "--data", tmp_path / "data")["equal"]


def test_the_demo_leaves_no_folder_of_its_own(tmp_path: Path, shop: Path) -> None:
    flags = ["--exit-when-done", "--no-browser", "--rate", "50000", "--port", "0"]
    process = start("demo", "--file", shop, *flags, env={**os.environ, "TMPDIR": str(tmp_path)})
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert b"Segments" in out
    assert list(tmp_path.iterdir()) == []


def test_the_demo_takes_the_next_port_when_one_is_taken(tmp_path: Path, shop: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        flags = ["--exit-when-done", "--no-browser", "--rate", "50000", "--port", str(port)]
        result = CliRunner().invoke(
            cli, ["demo", "--file", str(shop), "--data", str(tmp_path / "data"), *flags]
        )
    assert result.exit_code == 0, result.stderr
    assert f"Port {port} is taken" in result.stderr


def test_the_demo_finds_the_data_beside_a_checkout(tmp_path: Path) -> None:
    beside = tmp_path / "shared" / "data" / "online-retail.parquet"
    beside.parent.mkdir(parents=True)
    write_shop(beside, Shop(customers=10, lines=100))
    here = tmp_path / "checkout" / "src"
    here.mkdir(parents=True)
    source = find_source(None, tmp_path / "cache", here)
    assert (source.path, source.lines) == (beside, 100)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    process = start("serve", "--port", 0, "--data", tmp_path / "data", "--json")
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())["url"]
    finally:
        process.kill()
        process.communicate()


def test_what_is_replayed_to_a_server_is_there_and_equal(
    tmp_path: Path, shop: Path, served: tuple[subprocess.Popen[bytes], str]
) -> None:
    process, url = served
    sent = run("replay", shop, "--to", url)
    assert (sent["sent"], sent["acknowledged"], sent["failed"]) == (LINES, LINES, 0)
    assert run("verify", "--data", tmp_path / "data")["equal"]
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0


def test_the_server_logs_key_and_value(served: tuple[subprocess.Popen[bytes], str]) -> None:
    process, url = served
    assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert b"Serving http://127.0.0.1:" in err
    assert b"durable" in err.splitlines()[-1]


def test_replay_to_nobody_fails_in_one_line(shop: Path) -> None:
    result = CliRunner().invoke(cli, ["replay", str(shop), "--to", "http://127.0.0.1:9"])
    assert result.exit_code == 2
    assert "127.0.0.1:9" in result.stderr


def test_an_interrupted_load_says_what_is_durable(tmp_path: Path, shop: Path) -> None:
    process = start("load", "-", "--data", tmp_path / "data", stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(shop.read_bytes() + b"\n")
    process.stdin.flush()
    _wait_for_lines(tmp_path / "data", 1)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    lines = process.stderr.read().decode().splitlines()
    assert len(lines) == 1
    assert "durable" in lines[0]
    process.communicate()


def _wait_for_lines(data: Path, lines: int) -> None:
    for _ in range(200):
        time.sleep(0.1)
        try:
            view = View.open(data)
        except NotFound:
            continue
        found = view.counters()["events"]
        view.close()
        if found >= lines:
            return
    pytest.fail("nothing was committed")
