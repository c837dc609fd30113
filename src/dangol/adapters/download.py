"""Downloads a file over HTTP; what a cut connection brought, now or in an earlier run, is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx

from dangol.errors import FetchFailed

__all__ = ["download"]

Progress = Callable[[int, int | None], None]

_ATTEMPTS = 4
"""Cut connections in a row that bring no new byte, before giving up."""


def download(client: httpx.Client, url: str, path: Path, progress: Progress | None = None) -> None:
    """Fetch `url` to `path`; what has come lies in `path`.part until it is whole.

    A part is continued only if the server says, by ETag or date, that the file is still the same one;
    a server that knows no ranges makes the download start again.
    """
    part = path.with_name(path.name + ".part")
    idle = 0
    while True:
        before = _size(part)
        try:
            _attempt(client, url, part, progress)
        except httpx.TransportError as error:
            idle = 0 if _size(part) > before else idle + 1
            if idle == _ATTEMPTS or isinstance(error, httpx.ConnectError):
                message = f"could not reach {httpx.URL(url).host} ({error or type(error).__name__})"
                raise FetchFailed(message) from error
        else:
            break
    part.replace(path)
    _tag(part).unlink(missing_ok=True)


def _attempt(client: httpx.Client, url: str, part: Path, progress: Progress | None) -> None:
    with client.stream("GET", url, headers=_headers(part)) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and part.exists():
            part.unlink()
            message = "the part that was here does not belong to the file"
            raise httpx.ReadError(message)
        if response.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            message = f"{url} answered {response.status_code} {response.reason_phrase}"
            raise FetchFailed(message)
        goes_on = response.status_code == httpx.codes.PARTIAL_CONTENT
        done = _size(part) if goes_on else 0
        length = response.headers.get("content-length")
        total = done + int(length) if length else None
        # The tag is known before the bytes are, so a part never lies beside the tag of another file.
        if not goes_on:
            part.unlink(missing_ok=True)
        _tag(part).write_text(_version(response.headers))
        with part.open("ab") as file:
            for piece in response.iter_raw():
                file.write(piece)
                done += len(piece)
                if progress:
                    progress(done, total)
        if total is not None and done < total:
            message = f"{total - done} bytes are missing"
            raise httpx.ReadError(message)


def _headers(part: Path) -> dict[str, str]:
    """Ask for what is missing, on the condition that the file is still the one whose part is here."""
    headers = {"Accept-Encoding": "identity"}
    tag = _tag(part).read_text() if _tag(part).exists() else ""
    if _size(part) and tag:
        headers |= {"Range": f"bytes={_size(part)}-", "If-Range": tag}
    return headers


def _version(headers: httpx.Headers) -> str:
    """Return what tells this version of the file from others, "" if the server does not say."""
    tag: str = headers.get("etag", "")
    date: str = headers.get("last-modified", "")
    # A weak tag promises no equal bytes, and servers do not go on by it (RFC 9110, 13.1.5).
    return date if not tag or tag.startswith("W/") else tag


def _tag(part: Path) -> Path:
    return part.with_name(part.name + ".etag")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
