"""Sends a file to a running server at a rate: the client behind `dangol replay FILE --to http://…`."""

from __future__ import annotations

import http.client
import queue
import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import msgspec

from dangol.errors import UsageError
from dangol.serve.lines import LineChunk
from dangol.serve.pacing import Pace, paced_bodies
from dangol.serve.sources import file_chunks

__all__ = ["ReplayProgress", "ReplayResult", "replay", "replay_chunks"]

PROGRESS_SECONDS = 0.1
RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayProgress:
    """How far a replay has come, in lines."""

    sent: int
    acknowledged: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayResult:
    """What became of the lines of a replay: sent = acknowledged + failed.

    `error` says why it ended early, if it did. The last four counts are the server's, over all answers.
    """

    sent: int
    acknowledged: int
    failed: int
    seconds: float
    accepted: int = 0
    anonymous: int = 0
    rejected: int = 0
    duplicates: int = 0
    interrupted: bool = False
    error: str | None = None


class _Receipt(msgspec.Struct):
    accepted: int = 0
    anonymous: int = 0
    rejected: int = 0
    duplicates: int = 0


class _Problem(msgspec.Struct):
    detail: str = ""
    next: str = ""


def replay(
    file: Path,
    target_url: str,
    *,
    rate: float | None = None,
    speed: float | None = None,
    connections: int = 2,
    api_key: str | None = None,
    give_up_after: float = 60.0,
    on_progress: Callable[[ReplayProgress], None] | None = None,
) -> ReplayResult:
    """Send each line of `file` to `target_url` and wait until all are acknowledged.

    - file: csv, xlsx, parquet or NDJSON
    - target_url: `http://host:port` or `https://…`
    - rate: lines a second
    - speed: multiple of the file's own time; with neither, as fast as the server takes them
    - connections: bodies in flight at most; each connection has one
    - api_key: the server's key, if it has one
    - give_up_after: seconds after which a body that finds no answer ends the replay
    - on_progress: called from this thread, about ten times a second

    A body that is not acknowledged is sent again; the lines' event ids make that safe.
    """
    pace = Pace(rate=rate, speed=speed)
    return replay_chunks(
        file_chunks(file),
        target_url,
        pace=pace,
        connections=connections,
        api_key=api_key,
        give_up_after=give_up_after,
        on_progress=on_progress,
    )


def replay_chunks(
    chunks: Iterable[LineChunk],
    target_url: str,
    *,
    pace: Pace,
    connections: int = 2,
    api_key: str | None = None,
    give_up_after: float = 60.0,
    on_progress: Callable[[ReplayProgress], None] | None = None,
) -> ReplayResult:
    """Send chunks of lines, as `replay` does with those of a file."""
    url = _target(target_url)
    _check_alive(url, target_url)
    crew = _Crew(url, pace, connections=connections, api_key=api_key, give_up_after=give_up_after)
    started = time.monotonic()
    interrupted = False
    report = _throttled(crew, on_progress)
    try:
        for body, lines in paced_bodies(chunks, pace):
            crew.put(body, lines, report)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        crew.finish(report)
    return crew.result(seconds=time.monotonic() - started, interrupted=interrupted)


def _target(text: str) -> SplitResult:
    url = urlsplit(text)
    if url.scheme in ("kafka", "eventhubs"):
        message = (
            f"Targets like {url.scheme}:// are not in this version; they come with an extra of a later one. "
            "Send to http://HOST:PORT for now."
        )
        raise UsageError(message)
    if url.scheme not in ("http", "https") or not url.hostname:
        message = f"{text!r} is no target; write http://HOST:PORT."
        raise UsageError(message)
    return url


def _connect(url: SplitResult, timeout: float = 60.0) -> http.client.HTTPConnection:
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    return kind(url.hostname or "", url.port, timeout=timeout)


def _check_alive(url: SplitResult, text: str) -> None:
    connection = _connect(url, timeout=10.0)
    try:
        connection.request("GET", _path(url, "/healthz"))
        connection.getresponse().read()
    except (OSError, http.client.HTTPException) as error:
        message = f"Nothing answers at {text} ({error}); start `dangol serve` there, or correct the address."
        raise UsageError(message) from error
    finally:
        connection.close()


def _path(url: SplitResult, route: str) -> str:
    return url.path.rstrip("/").removesuffix("/v1/events") + route


def _throttled(crew: _Crew, on_progress: Callable[[ReplayProgress], None] | None) -> Callable[[], None]:
    last = 0.0

    def report() -> None:
        nonlocal last
        if on_progress and time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            on_progress(crew.progress())

    return report


class _Crew:
    """Threads with one connection each that take bodies from a short queue and see them acknowledged."""

    def __init__(
        self, url: SplitResult, pace: Pace, *, connections: int, api_key: str | None, give_up_after: float
    ) -> None:
        self.url = url
        self.pace = pace
        self.give_up_after = give_up_after
        self.headers = {"Content-Type": "application/x-ndjson"}
        if api_key:
            self.headers["Authorization"] = f"Bearer {api_key}"
        self.lock = threading.Lock()
        self.sent = self.acknowledged = 0
        self.totals = _Receipt()
        self.error: str | None = None
        self.bodies: queue.Queue[tuple[bytes, int] | None] = queue.Queue(maxsize=connections)
        self.threads = [threading.Thread(target=self._work, daemon=True) for _ in range(connections)]
        for thread in self.threads:
            thread.start()

    def put(self, body: bytes, lines: int, report: Callable[[], None]) -> None:
        """Hand over one body; waits while all connections are busy."""
        while not self.pace.stopped:
            report()
            try:
                self.bodies.put((body, lines), timeout=PROGRESS_SECONDS)
            except queue.Full:
                continue
            with self.lock:
                self.sent += lines
            return

    def finish(self, report: Callable[[], None]) -> None:
        """Wait until all that was handed over is acknowledged or given up."""
        for _ in self.threads:
            while any(thread.is_alive() for thread in self.threads):
                try:
                    self.bodies.put(None, timeout=PROGRESS_SECONDS)
                    break
                except queue.Full:
                    report()
        for thread in self.threads:
            while thread.is_alive():
                thread.join(PROGRESS_SECONDS)
                report()

    def progress(self) -> ReplayProgress:
        """Return the counts so far."""
        with self.lock:
            failed = self.sent - self.acknowledged if self.error else 0
            return ReplayProgress(sent=self.sent, acknowledged=self.acknowledged, failed=failed)

    def result(self, *, seconds: float, interrupted: bool) -> ReplayResult:
        """Return the final counts."""
        return ReplayResult(
            sent=self.sent,
            acknowledged=self.acknowledged,
            failed=self.sent - self.acknowledged,
            seconds=seconds,
            interrupted=interrupted,
            error=self.error,
            **msgspec.structs.asdict(self.totals),
        )

    def _work(self) -> None:
        connection = _connect(self.url)
        try:
            while (item := self.bodies.get()) is not None:
                if self.error is None:
                    self._deliver(connection, *item)
        finally:
            connection.close()

    def _deliver(self, connection: http.client.HTTPConnection, body: bytes, lines: int) -> None:
        deadline = time.monotonic() + self.give_up_after
        pause = 0.05
        while self.error is None:
            status, data, wait = self._post(connection, body)
            if status in (200, 207):
                self._count(data, lines)
                return
            if status == 413 and lines > 1:
                for half, count in _halves(body):
                    self._deliver(connection, half, count)
                return
            if status not in RETRIED and status != 0:
                self._fail(_said(status, data))
                return
            if time.monotonic() > deadline:
                self._fail(
                    f"No acknowledgement for {self.give_up_after:.0f} s; last answer: {_said(status, data)}"
                )
                return
            pause = min(5.0, pause * 2)
            time.sleep(wait if wait is not None else pause * random.uniform(0.5, 1.0))  # noqa: S311

    def _post(self, connection: http.client.HTTPConnection, body: bytes) -> tuple[int, bytes, float | None]:
        """Return (status or 0 when there was no answer, body or cause, seconds the server asks to wait)."""
        try:
            connection.request("POST", _path(self.url, "/v1/events"), body, self.headers)
            response = connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return 0, f"{type(error).__name__}: {error}".encode(), None
        wait = response.headers.get("Retry-After", "")
        return response.status, data, float(wait) if wait.isdigit() else None

    def _count(self, data: bytes, lines: int) -> None:
        receipt = msgspec.json.decode(data, type=_Receipt)
        with self.lock:
            self.acknowledged += lines
            self.totals.accepted += receipt.accepted
            self.totals.anonymous += receipt.anonymous
            self.totals.rejected += receipt.rejected
            self.totals.duplicates += receipt.duplicates

    def _fail(self, error: str) -> None:
        with self.lock:
            self.error = self.error or error
        self.pace.stop()


def _halves(body: bytes) -> list[tuple[bytes, int]]:
    chunk = LineChunk.of(body)
    middle = len(chunk) // 2
    return [(chunk.cut(0, middle), middle), (chunk.cut(middle, len(chunk)), len(chunk) - middle)]


def _said(status: int, data: bytes) -> str:
    if status == 0:
        return data.decode(errors="replace")
    try:
        said = msgspec.json.decode(data, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return f"HTTP {status}"
    return f"HTTP {status}: {said.detail} {said.next}".strip()
