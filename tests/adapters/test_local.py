"""The embedded store: one writer, any readers, and clear words about folders that cannot be used."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from dangol.adapters import local, local_history
from dangol.adapters.line_log import MAX_BATCH_ROWS, STORED
from dangol.core.schema import LineBlock
from dangol.errors import (
    DangolError,
    FolderDamaged,
    FolderInUse,
    FolderTooNew,
    NotFound,
    StoreFailed,
    TooLarge,
)
from dangol.verify import verify
from dangol.view import View
from oracle import EPOCH, Line, by_the_book, chunks, engine_on, ingest, ndjson, some_shop, states_of

LINES = some_shop(120, customers=9)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs, a snapshot, and something behind each."""
    folder = tmp_path_factory.mktemp("filled") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_history, "FLUSH_ROWS", 20)
        patch.setattr(local, "_SNAPSHOT_FLOOR", 2000)
        with engine_on(folder) as engine:
            for batch in chunks(LINES, 13):
                ingest(engine, ndjson(batch) + b"rubbish\n")
    return folder


@pytest.fixture
def folder(filled: Path, tmp_path: Path) -> Path:
    return shutil.copytree(filled, tmp_path / "data")


def test_what_was_committed_is_read_back(folder: Path) -> None:
    with engine_on(folder) as engine:
        assert engine.view.counters()["rejected"] == {"not_json": 1}
    assert states_of(folder) == by_the_book(LINES)


OPEN = """
import sys
from pathlib import Path
from dangol.config import Settings
from dangol.engine import open_engine
from dangol.errors import FolderInUse
try:
    open_engine(Settings(data=Path(sys.argv[1])))
except FolderInUse as error:
    sys.exit(f"refused: {error}")
"""


def test_a_second_process_is_refused_while_the_first_one_lives(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPEN, str(tmp_path)]
    with engine_on(tmp_path) as engine:
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert "refused: another dangol process writes to" in second.stderr
        assert ingest(engine, ndjson(LINES)).events == 120
    assert subprocess.run(command, check=False).returncode == 0


def test_a_second_engine_in_one_process_is_refused(tmp_path: Path) -> None:
    with engine_on(tmp_path), pytest.raises(FolderInUse, match="stop it, or name another folder"):
        engine_on(tmp_path)


def set_format(folder: Path, value: int) -> None:
    database = sqlite3.connect(folder / "dangol.db")
    database.execute("UPDATE meta SET value = ? WHERE key = 'format'", (value,))
    database.commit()
    database.close()


def test_a_folder_of_a_newer_version_is_left_alone(folder: Path) -> None:
    set_format(folder, 99)
    with pytest.raises(FolderTooNew, match="format 99.*upgrade dangol"):
        engine_on(folder)
    with pytest.raises(FolderTooNew):
        View.open(folder)
    with pytest.raises(FolderTooNew):
        verify(folder)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreFailed, match="cannot be written.*--data"):
        engine_on(tmp_path / "file" / "data")


def test_reading_where_nothing_is_says_how_to_begin(tmp_path: Path) -> None:
    for read in (View.open, verify):
        with pytest.raises(NotFound, match="dangol load FILE"):
            read(tmp_path)


def damage_database(folder: Path) -> None:
    (folder / "dangol.db").write_bytes(b"this is no database" * 1000)


def lose_database(folder: Path) -> None:
    for path in folder.glob("dangol.db*"):
        path.unlink()


def empty_database(folder: Path) -> None:
    lose_database(folder)
    (folder / "dangol.db").touch()


def lose_log(folder: Path) -> None:
    (folder / "lines.arrows").unlink()


def shorten_log(folder: Path) -> None:
    path = folder / "lines.arrows"
    path.write_bytes(path.read_bytes()[:-8])


def lose_snapshot(folder: Path) -> None:
    next(folder.glob("states-*.bin")).unlink()


def shorten_snapshot(folder: Path) -> None:
    path = next(folder.glob("states-*.bin"))
    path.write_bytes(path.read_bytes()[:-112])


def lose_run(folder: Path) -> None:
    next(folder.glob("runs/pairs*")).unlink()


def shorten_run(folder: Path) -> None:
    path = next(folder.glob("runs/seen*"))
    path.write_bytes(path.read_bytes()[:-8])


def empty_run(folder: Path) -> None:
    next(folder.glob("runs/invoices*")).write_bytes(b"")


def stump_run(folder: Path) -> None:
    next(folder.glob("runs/invoices*")).write_bytes(bytes(16))


def spoil_log(folder: Path) -> None:
    path = folder / "lines.arrows"
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * (size - size // 2))


@pytest.mark.parametrize(
    "damage",
    [
        damage_database, lose_database, empty_database, lose_log, shorten_log, lose_snapshot, shorten_snapshot,
        lose_run, shorten_run, empty_run, stump_run, spoil_log,
    ],
)  # fmt: skip
def test_a_damaged_folder_is_refused_in_one_line_and_kept_as_it_is(folder: Path, damage) -> None:
    damage(folder)
    log = folder / "lines.arrows"
    kept = log.read_bytes() if log.exists() else b""
    with pytest.raises(FolderDamaged) as caught, engine_on(folder) as engine:
        ingest(engine, ndjson(LINES))
    assert "\n" not in str(caught.value)
    assert "restore" in str(caught.value) or "name another folder" in str(caught.value)
    if kept:
        assert log.read_bytes()[: len(kept)] == kept


@pytest.mark.parametrize("damage", [lose_log, spoil_log, lose_snapshot, shorten_snapshot, damage_database])
def test_readers_of_a_damaged_folder_are_told_in_one_line(folder: Path, damage) -> None:
    damage(folder)
    with pytest.raises(FolderDamaged) as caught:
        verify(folder)
    assert "\n" not in str(caught.value)


def test_lines_behind_the_committed_length_are_forgotten(folder: Path) -> None:
    with (folder / "lines.arrows").open("ab") as file:
        file.write(b"torn" * 1000)
    with engine_on(folder) as engine:
        ingest(engine, ndjson(LINES))
        assert engine.view.counters()["duplicates"] == 9 + 120
    assert verify(folder).differences == []


def test_files_nobody_names_are_deleted_at_the_start(folder: Path) -> None:
    orphans = [folder / "runs" / "seen-000000000009-7.run", folder / "states-000000099999.bin"]
    for path in orphans:
        path.write_bytes(b"left by a crash")
    engine_on(folder).close()
    assert not any(path.exists() for path in orphans)


def test_a_first_start_that_died_in_the_middle_is_no_damage(tmp_path: Path) -> None:
    engine_on(tmp_path).close()
    (tmp_path / "lines.arrows").write_bytes(b"")
    with engine_on(tmp_path) as engine:
        ingest(engine, ndjson(LINES))
    assert states_of(tmp_path) == by_the_book(LINES)


def test_the_log_is_a_stream_that_any_arrow_tool_reads(folder: Path) -> None:
    with pa.OSFile(str(folder / "lines.arrows")) as file:
        table = pa.ipc.open_stream(file).read_all()
    assert table.schema == STORED
    assert sorted(table["event_id"].to_pylist()) == [line.event for line in LINES]


def test_readers_beside_a_running_writer_see_whole_commits_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_history, "FLUSH_ROWS", 40)
    monkeypatch.setattr(local, "_SNAPSHOT_FLOOR", 0)  # a new snapshot at every commit
    lines = [Line(f"e{n}", f"c{n % 40}", "P", f"{n}", EPOCH + n, 1, 1_000_000) for n in range(1500)]
    done, looks, failures = threading.Event(), [0], []

    def read() -> None:
        try:
            reader = View.open(tmp_path)
            while not done.is_set():
                rows = reader.export()
                assert sum(rows["frequency"].to_pylist()) % 10 == 0
                if looks[0] % 25 == 0:
                    assert verify(tmp_path).differences == []
                looks[0] += 1
            reader.close()
        except (AssertionError, DangolError, sqlite3.Error, OSError) as error:
            failures.append(error)

    with engine_on(tmp_path) as engine:
        thread = threading.Thread(target=read)
        thread.start()
        for batch in chunks(lines, 10):
            ingest(engine, ndjson(batch))
        done.set()
        thread.join()
    assert failures == []
    assert looks[0] > 5


class NoText:
    def text(self, row: int) -> bytes:
        return b""

    def texts(self, rows: Sequence[int]) -> list[bytes]:
        return [b""] * len(rows)


def test_more_lines_at_once_than_a_batch_can_number_are_refused(tmp_path: Path) -> None:
    n = MAX_BATCH_ROWS + 1
    ones = pa.array(np.ones(n, np.int64)).cast(pa.string())
    columns = {
        "InvoiceDate": pa.array(["2011-01-01"]).take(pa.array(np.zeros(n, np.int64))),
        "EventId": pa.array(range(n)),
    }
    with engine_on(tmp_path) as engine:
        fields = pa.RecordBatch.from_pydict(
            {name: columns.get(name, ones) for name in engine.rules.input_fields}
        )
        with pytest.raises(TooLarge, match="send them in parts"):
            engine.ingest(LineBlock(fields=fields, fault=np.zeros(n, np.uint8), raw=NoText()))
        assert ingest(engine, ndjson(LINES)).events == 120
