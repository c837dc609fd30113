"""The traffic simulator inside the server: plays a file into the engine, and obeys while it plays."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from dangol.engine import Engine
from dangol.errors import Busy, DangolError, NotFound, UsageError
from dangol.receipt import Receipt
from dangol.serve.models import SimulatorChange, SimulatorStart
from dangol.serve.pacing import Pace, paced_bodies
from dangol.serve.sources import GENERATED, file_chunks, generated_chunks, playable

__all__ = ["Simulator", "UnknownFile"]

IN_FLIGHT = 8
RATE_SECONDS = 3.0
ANSWER_SECONDS = 10.0
log = logging.getLogger(__name__)


class UnknownFile(NotFound):
    """The simulator does not offer this file."""


class Simulator:
    """Plays one file at a time. Each method may be called from any thread.

    - engine: where the lines go
    - file: the file that is offered by its name
    - folder: a folder whose files are offered by their names; nothing else on the machine can be named
    """

    def __init__(self, engine: Engine, *, file: Path | None = None, folder: Path | None = None) -> None:
        self._engine = engine
        self._file = file
        self._folder = folder
        self._lock = threading.Lock()
        self._run: _Run | None = None

    def files(self) -> dict[str, Path]:
        """Return what may be played, by name; the generated shop has no path."""
        found = {path.name: path for path in playable(self._folder)} if self._folder else {}
        if self._file is not None:
            found[self._file.name] = self._file
        return found

    def start(self, order: SimulatorStart) -> None:
        """Begin to play; raises while something plays already."""
        if order.rate is not None and order.speed is not None:
            message = "Give a rate or a speed, not both."
            raise UsageError(message)
        files = self.files()
        if order.file != GENERATED and order.file not in files:
            message = f"The simulator has no file {order.file!r}; it has {', '.join(self._names())}."
            raise UnknownFile(message)
        with self._lock:
            if self._run is not None and self._run.active:
                message = "The simulator is playing already; stop it first, or PATCH it to change its rate."
                raise UsageError(message)
            self._run = _Run(self._engine, order, files.get(order.file))
            self._run.begin()

    def change(self, order: SimulatorChange) -> None:
        """Change the rate or the speed, pause or go on."""
        if order.rate is not None and order.speed is not None:
            message = "Give a rate or a speed, not both."
            raise UsageError(message)
        run = self._run
        if run is None or not run.active:
            message = "The simulator is not playing; start it with POST /v1/simulator/start."
            raise UsageError(message)
        run.pace.change(rate=order.rate, speed=order.speed, paused=order.paused)

    def stop(self) -> None:
        """Stop playing, if it does, and wait until what it sent is durable."""
        run = self._run
        if run is not None:
            run.end()

    def state(self) -> dict[str, Any]:
        """Return what it does now, with its counts."""
        run = self._run
        now = run.state() if run else IDLE
        return {**now, "files": self._names()}

    def _names(self) -> list[str]:
        return [GENERATED, *sorted(self.files())]


IDLE: dict[str, Any] = {
    "state": "idle",
    "file": None,
    "rate": None,
    "speed": None,
    "loop": False,
    "sent": 0,
    "acknowledged": 0,
    "failed": 0,
    "lines_per_second": 0.0,
    "error": None,
}


class _Run:
    """One playing of one file, in a thread of its own."""

    def __init__(self, engine: Engine, order: SimulatorStart, path: Path | None) -> None:
        self.order = order
        self.pace = Pace(rate=order.rate, speed=order.speed)
        self._engine = engine
        self._path = path
        self._lock = threading.Lock()
        self._room = threading.BoundedSemaphore(IN_FLIGHT)
        self._sent = self._acknowledged = self._failed = 0
        self._recent: deque[tuple[float, int]] = deque(maxlen=4096)
        self._error: str | None = None
        self._ended = "running"
        self._thread = threading.Thread(target=self._play, name="simulator", daemon=True)

    @property
    def active(self) -> bool:
        """Whether it still plays."""
        return self._thread.is_alive()

    def begin(self) -> None:
        """Start the thread."""
        self._thread.start()

    def end(self) -> None:
        """Stop, and wait for the thread."""
        self.pace.stop()
        self._thread.join()

    def state(self) -> dict[str, Any]:
        """Return settings and counts."""
        with self._lock:
            recent = sum(n for moment, n in self._recent if moment > time.monotonic() - RATE_SECONDS)
            return {
                "state": "paused" if self._ended == "running" and self.pace.paused else self._ended,
                "file": self.order.file,
                "rate": self.pace.rate,
                "speed": self.pace.speed,
                "loop": self.order.loop,
                "sent": self._sent,
                "acknowledged": self._acknowledged,
                "failed": self._failed,
                "lines_per_second": round(recent / RATE_SECONDS, 1),
                "error": self._error,
            }

    def _play(self) -> None:
        try:
            self._play_once(0)
            for turn in itertools.count(1):
                if self.pace.stopped or not self.order.loop:
                    break
                self._play_once(turn)
        except DangolError as error:
            self._give_up(str(error))
        except Exception as error:  # noqa: BLE001 - a thread's top; without this the page would say "running"
            log.exception("event=simulator_failed")
            self._give_up(f"The simulator met an error it did not expect: {type(error).__name__}.")
        # all that was sent is answered when every place is free
        if not all(self._room.acquire(timeout=ANSWER_SECONDS) for _ in range(IN_FLIGHT)):
            self._give_up("The engine does not answer; GET /readyz tells why.")
        with self._lock:
            stopped = "stopped" if self.pace.stopped else "finished"
            self._ended = "failed" if self._error else stopped

    def _play_once(self, turn: int) -> None:
        fields = self._engine.rules.input_fields
        chunks = file_chunks(self._path, fields) if self._path else generated_chunks(turn)
        for body, lines in paced_bodies(chunks, self.pace):
            if not self._send(body, lines):
                return

    def _send(self, body: bytes, lines: int) -> bool:
        while not self._room.acquire(timeout=0.25):
            if self.pace.stopped:
                return False
        while not self.pace.stopped:
            try:
                future = self._engine.submit(body)
            except Busy as busy:
                self.pace.wait(min(busy.retry_after, 0.25))  # no network between us: ask again soon
                continue
            except BaseException:
                self._room.release()
                raise
            with self._lock:
                self._sent += lines
                self._recent.append((time.monotonic(), lines))
            future.add_done_callback(lambda done: self._answered(done, lines))
            return True
        self._room.release()
        return False

    def _answered(self, done: Future[Receipt], lines: int) -> None:
        error = done.exception()
        with self._lock:
            if error is None:
                self._acknowledged += lines
            else:
                self._failed += lines
        if error is not None:
            self._give_up(str(error))
        self._room.release()

    def _give_up(self, error: str) -> None:
        with self._lock:
            self._error = self._error or error
        self.pace.stop()
