"""Fetches UCI Online Retail from its public archive, once, and keeps it as parquet in a cache.

The archive is a zip with one Excel workbook, which is checked against its known SHA-256, read once and
written as parquet. A download that was cut off goes on where it stopped.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq

from dangol.adapters.download import download
from dangol.adapters.xlsx import XlsxTable
from dangol.errors import BadFile, FetchFailed

__all__ = ["ONLINE_RETAIL", "Archive", "fetch_online_retail", "find_online_retail"]

Progress = Callable[[int, int | None], None]

SCHEMA = pa.schema(
    [
        ("InvoiceNo", pa.string()),
        ("StockCode", pa.string()),
        ("Description", pa.string()),
        ("Quantity", pa.int64()),
        ("InvoiceDate", pa.timestamp("us")),
        ("UnitPrice", pa.float64()),
        ("CustomerID", pa.int64()),
        ("Country", pa.string()),
    ]
)
"""The columns of the parquet file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A published zip, the workbook in it, and what that must be."""

    url: str
    workbook: str
    sha256: str
    rows: int


ONLINE_RETAIL = Archive(
    url="https://archive.ics.uci.edu/static/public/352/online+retail.zip",
    workbook="Online Retail.xlsx",
    # As many public projects that use the workbook record it; see docs/data.md.
    sha256="43465a06f2ccf7c8b5bd2892bc7defb52f97487934fe93b16ae4c3936424676d",
    rows=541_909,
)
"""UCI dataset 352, Chen (2015), doi 10.24432/C5BW33, CC BY 4.0."""

_PARQUET = "online-retail.parquet"
_ZIP = "online+retail.zip"
"""As the archive names it; one put here by hand is read and left alone, and so is a workbook."""
_FETCHED = "fetched.zip"
_UNPACKED = "unpacked.xlsx"


def find_online_retail(explicit: Path | None, cache_dir: Path) -> Path | None:
    """Return the file that the user named, else the fetched one, else None. Touches no network."""
    if explicit is not None:
        if not explicit.is_file():
            message = f"{explicit} is no file: check the name"
            raise BadFile(message)
        return explicit
    cached = cache_dir / _PARQUET
    return cached if _is_sound(cached) else None


def fetch_online_retail(
    cache_dir: Path,
    *,
    progress: Progress | None = None,
    converting: Progress | None = None,
    client: httpx.Client | None = None,
    archive: Archive = ONLINE_RETAIL,
) -> Path:
    """Return the data as parquet in `cache_dir`, after downloading what is not there yet.

    `progress` gets (bytes done, bytes or None) of the download, `converting` (rows done, rows or None).
    The workbook or the zip, put into `cache_dir` by hand, serves in place of the download. Processes that
    call this at once wait for the first. `FetchFailed` says what to do when it cannot be had.
    """
    target = cache_dir / _PARQUET
    if _is_sound(target):
        return target
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with _alone(cache_dir / "online-retail.lock"):
            if not _is_sound(target):
                _convert(_workbook(cache_dir, archive, progress, client), target, archive, converting)
    except OSError as error:
        message = (
            f"{cache_dir} cannot be written ({error.strerror or error}): free space or choose another folder"
        )
        raise FetchFailed(message) from error
    return target


def _workbook(
    cache_dir: Path, archive: Archive, progress: Progress | None, client: httpx.Client | None
) -> Path:
    """Return the checked workbook: put there by hand, from a zip that lies there, or from the network."""
    placed, placed_zip = cache_dir / archive.workbook, cache_dir / _ZIP
    if placed.is_file():
        _check(placed, archive, f"remove it and fetch again, or load it as it is: `dangol load '{placed}'`")
        return placed
    packed, unpacked = cache_dir / _FETCHED, cache_dir / _UNPACKED
    if placed_zip.is_file():
        packed = placed_zip
    elif not packed.is_file():
        _download(archive, packed, progress, client)
    try:
        _unpack(packed, unpacked, archive)
        _check(unpacked, archive, "fetch again later")
    except FetchFailed:
        for fetched in (cache_dir / _FETCHED, unpacked):
            fetched.unlink(missing_ok=True)
        raise
    return unpacked


def _check(workbook: Path, archive: Archive, advice: str) -> None:
    found = _sha256(workbook)
    if found != archive.sha256:
        message = (
            f"{workbook} is not the published {archive.workbook} "
            f"(its SHA-256 is {found[:12]}…, not {archive.sha256[:12]}…): {advice}"
        )
        raise FetchFailed(message)


def _download(archive: Archive, packed: Path, progress: Progress | None, client: httpx.Client | None) -> None:
    try:
        if client is not None:
            download(client, archive.url, packed, progress)
            return
        with httpx.Client(timeout=30, follow_redirects=True) as own:
            download(own, archive.url, packed, progress)
    except FetchFailed as error:
        message = (
            f"{error}: try again later, or put {archive.workbook} into {packed.parent}, "
            "or go on without it on the generated shop"
        )
        raise FetchFailed(message) from error


def _unpack(packed: Path, workbook: Path, archive: Archive) -> None:
    try:
        with (
            zipfile.ZipFile(packed) as files,
            files.open(archive.workbook) as source,
            workbook.open("wb") as out,
        ):
            shutil.copyfileobj(source, out, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
        message = f"{packed} is not the zip with {archive.workbook} ({error}): remove it and fetch again"
        raise FetchFailed(message) from error


def _convert(workbook: Path, target: Path, archive: Archive, converting: Progress | None) -> None:
    """Write the workbook's rows as typed parquet; the file gets its name only when it is whole."""
    part = target.with_name(target.name + ".part")
    table = XlsxTable(workbook, progress=converting)
    if table.columns != tuple(SCHEMA.names):
        message = (
            f"{workbook} has the columns {', '.join(table.columns)}, not those of Online Retail: fetch again"
        )
        raise FetchFailed(message)
    with pq.ParquetWriter(part, SCHEMA, compression="zstd") as writer:
        for rows in table.rows(SCHEMA.names, 0, 1 << 17):
            writer.write_batch(rows.columns.cast(SCHEMA))
    if table.done != archive.rows:
        part.unlink()
        message = f"{workbook} has {table.done:,} rows, not {archive.rows:,}: fetch again"
        raise FetchFailed(message)
    _beside(target).write_text(_sha256(part) + "\n")
    part.replace(target)
    for spent in (_FETCHED, _UNPACKED):
        target.with_name(spent).unlink(missing_ok=True)


def _is_sound(path: Path) -> bool:
    """Say whether a file is there and still what was written."""
    beside = _beside(path)
    return path.is_file() and beside.is_file() and beside.read_text().strip() == _sha256(path)


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock file while the body runs; the system lets go of it if the process dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
