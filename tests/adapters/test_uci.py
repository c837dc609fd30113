"""The fetch against a real HTTP server that can cut, forget, refuse and change what it serves."""

from __future__ import annotations

import datetime as dt
import hashlib
import multiprocessing
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from xlsx_writer import write_workbook

from dangol.adapters.uci import SCHEMA, Archive, fetch_online_retail, find_online_retail
from dangol.errors import BadFile, FetchFailed

ROWS: list[list[object]] = [
    [
        536365 + at,
        85123 if at % 2 else "85123A",
        f"HEART {at}",
        at + 1,
        _at,
        2.5 + at,
        17850 if at % 3 else None,
        "EIRE",
    ]
    for at, _at in enumerate(dt.datetime.fromisoformat(f"2010-12-{day:02}T08:26:00") for day in range(1, 29))
]


class Shelf(ThreadingHTTPServer):
    """Serves one body; `cuts` lists after how many bytes each of the first answers breaks off."""

    daemon_threads = True

    def __init__(self, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.body = body
        self.cuts: list[int] = []
        self.ranges = True
        self.tag: str | None = '"v1"'
        self.status = 0
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/online+retail.zip"


class Answer(BaseHTTPRequestHandler):
    server: Shelf

    def log_message(self, *args: object) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        shelf = self.server
        asked = self.headers.get("Range")
        shelf.asked.append(asked)
        same = self.headers.get("If-Range") in (None, shelf.tag)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and shelf.ranges and same else 0
        if shelf.status or start > len(shelf.body):
            self.send_error(shelf.status or 416)
            return
        rest = shelf.body[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(rest)))
        if shelf.tag:
            self.send_header("ETag", shelf.tag)
        self.end_headers()
        self.wfile.write(rest[: shelf.cuts.pop(0)] if shelf.cuts else rest)


@pytest.fixture
def workbook(tmp_path: Path) -> Path:
    return write_workbook(tmp_path / "Online Retail.xlsx", [list(SCHEMA.names), *ROWS])


@pytest.fixture
def shelf(tmp_path: Path, workbook: Path) -> Iterator[Shelf]:
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as packed:
        packed.write(workbook, workbook.name)
    with Shelf((tmp_path / "packed.zip").read_bytes()) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def archive(shelf: Shelf, workbook: Path) -> Archive:
    sha256 = hashlib.sha256(workbook.read_bytes()).hexdigest()
    return Archive(url=shelf.url, workbook=workbook.name, sha256=sha256, rows=len(ROWS))


def test_the_fetched_data_has_the_types_and_rows_of_the_workbook(tmp_path: Path, archive: Archive) -> None:
    path = fetch_online_retail(tmp_path / "cache", archive=archive)
    table = pq.read_table(path)
    assert path.name == "online-retail.parquet"
    assert table.schema == SCHEMA
    expected = [[str(row[0]), str(row[1]), *row[2:]] for row in ROWS]
    assert [list(row.values()) for row in table.to_pylist()] == expected


def test_nothing_but_the_parquet_file_its_hash_and_the_lock_is_left(tmp_path: Path, archive: Archive) -> None:
    path = fetch_online_retail(tmp_path / "cache", archive=archive)
    left = {entry.name for entry in path.parent.iterdir()}
    assert left == {"online-retail.parquet", "online-retail.parquet.sha256", "online-retail.lock"}


def test_the_second_call_touches_no_network(tmp_path: Path, shelf: Shelf, archive: Archive) -> None:
    for _ in range(2):
        fetch_online_retail(tmp_path / "cache", archive=archive)
    assert len(shelf.asked) == 1


def test_progress_of_download_and_conversion_ends_at_the_totals(
    tmp_path: Path, shelf: Shelf, archive: Archive
) -> None:
    seen: list[tuple[int, int | None]] = []
    rows: list[tuple[int, int | None]] = []
    fetch_online_retail(
        tmp_path / "c",
        archive=archive,
        progress=lambda *a: seen.append(a),
        converting=lambda *a: rows.append(a),
    )
    assert seen[-1] == (len(shelf.body), len(shelf.body))
    assert rows[-1] == (len(ROWS), len(ROWS))


def test_a_cut_connection_goes_on_where_it_stopped(tmp_path: Path, shelf: Shelf, archive: Archive) -> None:
    shelf.cuts = [100, 200, 1]
    fetch_online_retail(tmp_path / "cache", archive=archive)
    assert shelf.asked == [None, "bytes=100-", "bytes=300-", "bytes=301-"]


def test_a_server_without_ranges_makes_it_start_again(tmp_path: Path, shelf: Shelf, archive: Archive) -> None:
    shelf.cuts, shelf.ranges = [100, 50], False
    assert pq.read_table(fetch_online_retail(tmp_path / "cache", archive=archive)).num_rows == len(ROWS)


def test_a_server_that_names_no_version_makes_it_start_again(
    tmp_path: Path, shelf: Shelf, archive: Archive
) -> None:
    shelf.cuts, shelf.tag = [100], None
    fetch_online_retail(tmp_path / "cache", archive=archive)
    assert shelf.asked == [None, None]


def test_a_part_of_another_version_is_not_continued(tmp_path: Path, shelf: Shelf, archive: Archive) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "fetched.zip.part").write_bytes(b"old bytes")
    (cache / "fetched.zip.part.etag").write_text('"v0"')
    assert pq.read_table(fetch_online_retail(cache, archive=archive)).num_rows == len(ROWS)
    assert shelf.asked == ["bytes=9-"]


def test_a_part_longer_than_the_file_is_thrown_away(tmp_path: Path, shelf: Shelf, archive: Archive) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "fetched.zip.part").write_bytes(bytes(len(shelf.body) + 1))
    (cache / "fetched.zip.part.etag").write_text('"v1"')
    assert pq.read_table(fetch_online_retail(cache, archive=archive)).num_rows == len(ROWS)


def test_a_connection_that_brings_nothing_ends_and_keeps_the_part(
    tmp_path: Path, shelf: Shelf, archive: Archive
) -> None:
    shelf.cuts = [100, *[0] * 9]
    with pytest.raises(
        FetchFailed, match=r"could not reach 127.0.0.1 .*put Online Retail.xlsx into .*generated shop"
    ):
        fetch_online_retail(tmp_path / "cache", archive=archive)
    assert (tmp_path / "cache" / "fetched.zip.part").stat().st_size == 100


def test_offline_the_error_says_what_to_do(tmp_path: Path, shelf: Shelf, archive: Archive) -> None:
    shelf.server_close()
    with pytest.raises(
        FetchFailed, match=r"could not reach 127.0.0.1.*put Online Retail.xlsx into .*cache, or"
    ) as caught:
        fetch_online_retail(tmp_path / "cache", archive=archive)
    assert "\n" not in str(caught.value)


def test_an_answer_other_than_the_file_is_named(tmp_path: Path, shelf: Shelf, archive: Archive) -> None:
    shelf.status = 503
    with pytest.raises(FetchFailed, match="answered 503 Service Unavailable"):
        fetch_online_retail(tmp_path / "cache", archive=archive)


def test_what_is_no_zip_or_not_the_published_file_is_refused_and_not_kept(
    tmp_path: Path, shelf: Shelf, archive: Archive
) -> None:
    good = shelf.body
    shelf.body = b"<html>sign in to this network</html>"
    with pytest.raises(FetchFailed, match="is not the zip with Online Retail.xlsx"):
        fetch_online_retail(tmp_path / "cache", archive=archive)
    write_workbook(tmp_path / "Online Retail.xlsx", [list(SCHEMA.names), ROWS[0]])
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as packed:
        packed.write(tmp_path / "Online Retail.xlsx", "Online Retail.xlsx")
    shelf.body = (tmp_path / "other.zip").read_bytes()
    with pytest.raises(FetchFailed, match="is not the published Online Retail.xlsx"):
        fetch_online_retail(tmp_path / "cache", archive=archive)
    shelf.body = good
    assert fetch_online_retail(tmp_path / "cache", archive=archive).exists()


@pytest.mark.parametrize("name", ["Online Retail.xlsx", "online+retail.zip"])
def test_a_file_put_there_by_hand_serves_and_stays(
    tmp_path: Path, shelf: Shelf, archive: Archive, workbook: Path, name: str
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    placed = cache / name
    placed.write_bytes(workbook.read_bytes() if name == workbook.name else shelf.body)
    assert fetch_online_retail(cache, archive=archive).exists()
    assert placed.exists()
    assert shelf.asked == []


def test_a_strange_workbook_put_there_by_hand_is_refused_and_left_alone(
    tmp_path: Path, archive: Archive
) -> None:
    placed = write_workbook(tmp_path / archive.workbook, [["A"], [1]])
    with pytest.raises(FetchFailed, match="remove it and fetch again, or load it as it is"):
        fetch_online_retail(tmp_path, archive=archive)
    assert placed.exists()


def test_a_damaged_cache_is_fetched_again(tmp_path: Path, shelf: Shelf, archive: Archive) -> None:
    path = fetch_online_retail(tmp_path / "cache", archive=archive)
    path.write_bytes(path.read_bytes()[:-1])
    assert find_online_retail(None, tmp_path / "cache") is None
    assert pq.read_table(fetch_online_retail(tmp_path / "cache", archive=archive)).num_rows == len(ROWS)


def test_find_prefers_the_named_file_and_refuses_one_that_is_not_there(
    tmp_path: Path, archive: Archive
) -> None:
    cache = tmp_path / "cache"
    assert find_online_retail(None, cache) is None
    path = fetch_online_retail(cache, archive=archive)
    assert find_online_retail(None, cache) == path
    assert find_online_retail(tmp_path / "packed.zip", cache) == tmp_path / "packed.zip"
    with pytest.raises(BadFile, match="is no file"):
        find_online_retail(tmp_path / "nothing.csv", cache)


def test_two_processes_at_once_download_once(tmp_path: Path, shelf: Shelf, archive: Archive) -> None:
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(2) as pool:
        waiting = [
            pool.apply_async(fetch_online_retail, (tmp_path / "c",), {"archive": archive}) for _ in range(2)
        ]
        paths = {result.get(60) for result in waiting}
    assert len(paths) == 1
    assert len(shelf.asked) == 1


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, archive: Archive) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FetchFailed, match="cannot be written"):
        fetch_online_retail(tmp_path / "file" / "cache", archive=archive)
