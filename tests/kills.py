"""A server that is killed at random moments, and a sender that does not give up."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from dangol.view import View

# Imports once, then forks a server for each line on standard input, so that a restart takes a moment only.
PROGRAM = """
import os, sys
from pathlib import Path
from dangol.adapters import local, local_history
from dangol.config import Settings
from dangol.engine import open_engine
from dangol.serve.server import serve

local_history.FLUSH_ROWS = int(sys.argv[2])
local._SNAPSHOT_FLOOR = 20_000
settings = Settings(data=Path(sys.argv[1]))
for _ in sys.stdin:
    pid = os.fork()
    if pid == 0:
        with open_engine(settings) as engine:
            engine.start()
            ready = lambda url: sys.stdout.write(f"{os.getpid()} {url}\\n") and sys.stdout.flush()
            serve(engine, port=0, settings=settings, on_ready=ready)
        os._exit(0)
    os.waitpid(pid, 0)
"""


class MortalServer:
    """Serves `folder`; `kill` sends SIGKILL and starts it again."""

    def __init__(self, folder: Path, *, flush_rows: int) -> None:
        self._zygote = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder), str(flush_rows)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.url, self.kills = "", 0
        self._start()

    def _start(self) -> None:
        assert self._zygote.stdin is not None and self._zygote.stdout is not None
        self._zygote.stdin.write("\n")
        self._zygote.stdin.flush()
        pid, self.url = self._zygote.stdout.readline().split()
        self._pid = int(pid)

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        self.kills += 1
        self._start()

    def end(self) -> None:
        os.kill(self._pid, signal.SIGTERM)
        assert self._zygote.stdin is not None and self._zygote.stdout is not None
        self._zygote.stdin.close()
        self._zygote.wait(20)
        self._zygote.stdout.close()


def send_and_kill(
    folder: Path, bodies: Sequence[bytes], sizes: Sequence[int], *, kills: int, seed: int
) -> int:
    """Send all bodies, again and again while the server has lives left; return how many it lost in all."""
    rng = random.Random(seed)
    server = MortalServer(folder, flush_rows=max(sizes) * 3)
    acknowledged = [False] * len(bodies)
    through = threading.Event()

    def send() -> None:
        with httpx.Client(timeout=30) as client:
            while not (all(acknowledged) and server.kills == kills):
                for place, body in enumerate(bodies):
                    _post(client, server, body)
                    acknowledged[place] = True
        through.set()

    sender = threading.Thread(target=send)
    sender.start()
    while server.kills < kills and sender.is_alive():
        time.sleep(rng.uniform(0.02, 0.25))
        known = sum(size for size, done in zip(sizes, acknowledged, strict=True) if done)
        server.kill()
        view = View.open(folder)
        counters = view.counters()
        view.close()
        assert counters["accepted"] + counters["anonymous"] + sum(counters["rejected"].values()) >= known
    sender.join()
    assert through.is_set()
    server.end()
    return server.kills


def _post(client: httpx.Client, server: MortalServer, body: bytes) -> None:
    headers = {"Content-Type": "application/x-ndjson"}
    for _ in range(2000):
        try:
            answer = client.post(f"{server.url}/v1/events", content=body, headers=headers)
        except httpx.TransportError:
            time.sleep(0.01)
            continue
        if answer.status_code in (200, 207):
            return
        time.sleep(0.02)
    message = "the server never came back"
    raise AssertionError(message)
