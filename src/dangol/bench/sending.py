"""The senders of the HTTP cases: as fast as the server takes it, and at a fixed rate whatever it does.

The second is open-loop: each body has its moment, and its delay counts from that moment and not from when a
connection came free. So a server that stalls is charged for everyone who had to wait.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dangol.bench.child import JobFailed, measured
from dangol.bench.jobs import bodies_of

__all__ = ["flood", "trickle"]

_COUNTS = ("events", "accepted", "anonymous", "rejected", "duplicates")
_POLL_SECONDS = 0.001
_WARM_UP = 50
"""The delays of so many bodies, or of a quarter of all, are left out: what a process does once."""


def _post(body: bytes, host: str) -> bytes:
    head = f"POST /v1/events HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-ndjson\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _get(path: str, host: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def _parted(head: bytes) -> tuple[int, int]:
    """Return status and content length of an answer's head."""
    lines = head.split(b"\r\n")
    length = next((int(line[15:]) for line in lines if line.lower().startswith(b"content-length:")), 0)
    return int(lines[0].split()[1]), length


def flood(url: str, file: str, lines: int, body_lines: int, connections: int) -> dict[str, Any]:
    """Send so many lines over a few connections, each with one body in flight, and wait for every answer."""
    host = urlsplit(url).netloc
    bodies = bodies_of(Path(file), body_lines, max(1, lines // body_lines))
    requests = [_post(body, host) for body in bodies]
    sent = sum(body.count(b"\n") for body in bodies)
    waiting, answers, lock = iter(requests), [], threading.Lock()

    def work() -> None:
        name, port = host.rsplit(":", 1)
        with socket.create_connection((name, int(port))) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                with lock:
                    request = next(waiting, None)
                if request is None:
                    return
                connection.sendall(request)
                answers.append(_answer(connection))

    threads = [threading.Thread(target=work) for _ in range(connections)]
    with measured() as usage:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return usage.figures(sent) | _told(answers, len(requests))


def _answer(connection: socket.socket) -> tuple[int, bytes]:
    held = b""
    while b"\r\n\r\n" not in held:
        piece = connection.recv(65_536)
        if not piece:
            return 0, b""
        held += piece
    head, _, body = held.partition(b"\r\n\r\n")
    status, length = _parted(head)
    while len(body) < length:
        body += connection.recv(65_536)
    return status, body


def _told(answers: list[tuple[int, bytes]], requests: int) -> dict[str, Any]:
    """Add up what the server said; every body must have been acknowledged."""
    good = [body for status, body in answers if status in (200, 204, 207)]
    if len(good) != requests:
        statuses = sorted({status for status, _ in answers})
        message = f"{requests - len(good)} of {requests} bodies were not acknowledged (answers {statuses})"
        raise JobFailed(message)
    receipts = [json.loads(body) for body in good if body]
    return {name: sum(receipt[name] for receipt in receipts) for name in _COUNTS} | {"requests": requests}


def trickle(
    url: str, file: str, kept: str, rate: int, seconds: float, bodies_per_second: int, every: int = 10
) -> dict[str, Any]:
    """Send at `rate` lines a second; return the delays in ms until acknowledged, and of some until read.

    One in `every` bodies brings a customer never seen before; it is readable once a GET finds that customer.
    All that was sent is written to `kept`.
    """
    lines = max(1, round(rate / bodies_per_second))
    bodies = bodies_of(Path(file), lines, round(seconds * bodies_per_second))
    probes = {place: f"probe-{place}" for place in range(0, len(bodies), every)}
    for place, customer in probes.items():
        bodies[place] += _probe(bodies[place], customer)
    Path(kept).write_bytes(b"".join(bodies))
    sender = _Sender(urlsplit(url).netloc, warm_up=min(_WARM_UP, len(bodies) // 4))
    asyncio.run(sender.send_all(bodies, probes, 1 / bodies_per_second))
    return {
        "sent": sum(body.count(b"\n") for body in bodies),
        "acknowledged_ms": sender.acknowledged,
        "readable_ms": sender.readable,
        "late_ms": max(sender.late),
    }


def _probe(body: bytes, customer: str) -> bytes:
    line = json.loads(body[: body.index(b"\n")])
    line |= {"EventId": customer, "CustomerID": customer, "InvoiceNo": "1", "Quantity": 1, "UnitPrice": 1.5}
    return json.dumps(line).encode() + b"\n"


class _Sender:
    """Keeps to the timetable, with as many connections as it takes to be never held up by an answer."""

    def __init__(self, host: str, *, warm_up: int) -> None:
        self._host = host
        self._warm_up = warm_up
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.acknowledged: list[float] = []
        self.readable: list[float] = []
        self.late: list[float] = []

    async def send_all(self, bodies: list[bytes], probes: dict[int, str], interval: float) -> None:
        """Send each body at its moment and wait for all answers."""
        begin = time.perf_counter() + 0.1
        async with asyncio.TaskGroup() as tasks:
            for place, body in enumerate(bodies):
                moment = begin + place * interval
                await asyncio.sleep(max(0.0, moment - time.perf_counter()))
                self.late.append(1e3 * (time.perf_counter() - moment))
                tasks.create_task(self._deliver(place, body, moment, probes.get(place)))
        for _, writer in self._free:
            writer.close()

    async def _deliver(self, place: int, body: bytes, moment: float, probe: str | None) -> None:
        status = await self._ask(_post(body, self._host))
        counts = place >= self._warm_up
        if counts:
            self.acknowledged.append(1e3 * (time.perf_counter() - moment))
        if status not in (200, 207):
            message = f"a body was answered with {status} instead of being acknowledged"
            raise JobFailed(message)
        if probe is None:
            return
        while await self._ask(_get(f"/v1/customers/{probe}", self._host)) != 200:
            await asyncio.sleep(_POLL_SECONDS)
        if counts:
            self.readable.append(1e3 * (time.perf_counter() - moment))

    async def _ask(self, request: bytes) -> int:
        name, port = self._host.rsplit(":", 1)
        reader, writer = self._free.pop() if self._free else await asyncio.open_connection(name, int(port))
        writer.write(request)
        status, length = _parted(await reader.readuntil(b"\r\n\r\n"))
        await reader.readexactly(length)
        self._free.append((reader, writer))
        return status
