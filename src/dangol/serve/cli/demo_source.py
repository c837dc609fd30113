"""What the demo plays: a named file, the fetched data, the copy beside a checkout, or the generated shop."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dangol.errors import FetchFailed

__all__ = ["DemoSource", "find_source"]

BESIDE = Path("shared", "data", "online-retail.parquet")
CONNECT_SECONDS = 5.0
GENERATED_LINES = 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSource:
    """A file, or None for the generated shop; how many lines, if known; and where it is from, in words."""

    path: Path | None
    lines: int | None
    words: str


def find_source(file: Path | None, cache: Path, here: Path) -> DemoSource:
    """Return what to play: `file`, else what is there, else what can be fetched, else the generated shop."""
    from dangol.adapters.uci import find_online_retail

    if file is not None:
        return _of_file(find_online_retail(file, cache) or file, f"the file {file}")
    fetched = find_online_retail(None, cache)
    if fetched is not None:
        return _of_file(fetched, "the real data, UCI Online Retail, fetched before")
    for folder in (here, *here.parents):
        if (folder / BESIDE).is_file():
            return _of_file(folder / BESIDE, f"the real data, UCI Online Retail, from {folder / BESIDE}")
    return _fetched(cache)


def _fetched(cache: Path) -> DemoSource:
    from dangol.serve.cli.data import fetch_with_bars

    try:
        path = fetch_with_bars(cache, timeout=CONNECT_SECONDS)
    except FetchFailed:
        words = "a generated shop, for the real data is not here and its archive cannot be reached"
        return DemoSource(path=None, lines=GENERATED_LINES, words=words)
    return _of_file(path, "the real data, UCI Online Retail, fetched just now")


def _of_file(path: Path, words: str) -> DemoSource:
    from dangol.adapters.files import open_source

    source = open_source(path)
    return DemoSource(path=path, lines=source.total if source.unit == "rows" else None, words=words)
