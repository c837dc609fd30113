"""Reads a request body within limits: bounded size, bounded inflation, bounded total, bounded time."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator

from starlette.requests import ClientDisconnect, Request

from dangol.errors import Busy, TooLarge, UsageError
from dangol.serve.problems import HttpProblem

__all__ = ["Intake"]

SECONDS_PER_CHUNK = 30.0
GZIP = 31  # zlib's wbits for one gzip member with header and checksum


class Intake:
    """Takes in bodies of at most `max_body` bytes, and about `max_total` bytes of them at a time.

    Bodies that are still on their way are not in the engine's queue yet, so they have a bound of their own.
    """

    def __init__(self, *, max_body: int, max_total: int) -> None:
        self.max_body = max_body
        self.max_total = max(max_total, max_body)
        self.held = 0

    async def read(self, request: Request) -> bytes:
        """Return the whole body, inflated when it came as gzip."""
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip", "x-gzip", ""):
            detail = f"The content encoding {encoding!r} is not one of gzip and identity."
            raise HttpProblem(415, detail, kind="encoding", headers={"Accept-Encoding": "gzip, identity"})
        body = _Body(request)
        inflate = _Inflate(self.max_body) if encoding.endswith("gzip") else None
        parts: list[bytes] = []
        size = 0
        try:
            self._check_declared(request)
            async for chunk in body.chunks():
                for part in inflate.feed(chunk) if inflate else (chunk,):
                    size += len(part)
                    self.held += len(part)
                    parts.append(part)
                    self._check(size)
            if inflate:
                inflate.finish()
            return b"".join(parts)
        except (TooLarge, Busy, UsageError):
            parts.clear()
            await body.discard(4 * self.max_body)
            raise
        finally:
            self.held -= size

    def _check(self, size: int) -> None:
        if size > self.max_body:
            raise TooLarge(self._too_large())
        if self.held > self.max_total:
            message = f"The server has {self.max_total} bytes of bodies on their way, as many as it may hold."
            raise Busy(message, retry_after=1.0)

    def _check_declared(self, request: Request) -> None:
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self.max_body:
            raise TooLarge(self._too_large())

    def _too_large(self) -> str:
        return f"The body is larger than {self.max_body} bytes, the most that one request may hold."


class _Inflate:
    """Undoes gzip piece by piece and never makes more than `limit` + 1 bytes in all."""

    def __init__(self, limit: int) -> None:
        self.left = limit + 1
        self.member = zlib.decompressobj(GZIP)
        self.began = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` inflates to."""
        while data and self.left > 0:
            if self.member.eof:  # gzip files may be joined end to end
                self.member = zlib.decompressobj(GZIP)
            try:
                out = self.member.decompress(data, self.left)
            except zlib.error as error:
                message = f"The body is marked as gzip but cannot be unpacked ({error}); send it again."
                raise UsageError(message) from error
            self.began = True
            self.left -= len(out)
            data = self.member.unused_data or self.member.unconsumed_tail
            if out:
                yield out

    def finish(self) -> None:
        """Raise unless the last member is whole."""
        if self.began and not self.member.eof:
            message = "The gzip body ends too early; send it again."
            raise UsageError(message)


class _Body:
    """The chunks of a request, read once, each within a time limit."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.ended = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the chunks that are still to come."""
        while not self.ended:
            try:
                async with asyncio.timeout(SECONDS_PER_CHUNK):
                    message = await self.request.receive()
            except TimeoutError as error:
                detail = f"No byte of the body came for {SECONDS_PER_CHUNK:.0f} seconds."
                raise HttpProblem(408, detail, kind="timeout") from error
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            self.ended = not message.get("more_body", False)
            if chunk := message.get("body", b""):
                yield chunk

    async def discard(self, limit: int) -> None:
        """Read on for up to `limit` bytes, so that a sender in mid-body gets to see the answer.

        A sender that asked to be told first (Expect: 100-continue) has sent nothing and is told at once.
        """
        if "expect" in self.request.headers:
            return
        async for chunk in self.chunks():
            limit -= len(chunk)
            if limit < 0:
                return
