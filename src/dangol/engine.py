"""The engine: one writer on a data folder, fed by blocks or by request bodies, with a view for readers."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from dangol.adapters.duckdb_sql import DuckDbRules
from dangol.adapters.local import LocalStore
from dangol.adapters.ndjson import parse_ndjson
from dangol.batch import BlockResult, Prepared
from dangol.clock import WallClock
from dangol.config import Settings
from dangol.core.model_card import Model
from dangol.core.schema import LineBlock
from dangol.erasing import EraseReceipt, erase
from dangol.errors import Busy, DangolError, FitRefused, StoreFailed, TooLarge
from dangol.intake import Body, Group, split_result
from dangol.memory import settle
from dangol.modelling import ensure_model, fit_model, promote_model, wants_first_fit
from dangol.pipeline import Pipeline
from dangol.ports import Clock, Source, SqlEngine
from dangol.receipt import Receipt, receipt_of
from dangol.rejects import replay_rejects
from dangol.status import Status, Timings, status_of
from dangol.view import View

__all__ = ["Engine", "open_engine"]

log = logging.getLogger("dangol.engine")

_SWITCH_SECONDS = 0.0005
"""How long a thread may keep the interpreter from others; Python's 5 ms would be most of a quiet commit's delay."""


@dataclass(frozen=True, slots=True)
class _Ready:
    """A group of bodies, parsed and cleansed, on its way to the commit."""

    group: Group
    prepared: Prepared


class Engine:
    """Exactly one to a data folder; made by `open_engine`.

    `ingest` and `load` commit in the caller's thread. `submit` hands bodies to two threads started by
    `start`: one parses and cleanses, the other commits, so that a commit and the next batch overlap. All
    bodies that wait go into one batch: batches are small when the shop is quiet and large under load.
    """

    def __init__(self, settings: Settings, store: LocalStore, rules: SqlEngine, wall: Clock) -> None:
        self.settings = settings
        self.rules = rules
        self._store = store
        self._wall = wall
        ensure_model(store, wall.now())
        self.pipeline = Pipeline(
            store,
            rules,
            wall,
            event_clock=settings.clock == "event",
            max_ahead_hours=settings.max_ahead_hours,
        )
        self.view = View.open(settings.data)
        self.timings = Timings(wall.now())
        self._lock = threading.RLock()  # whoever commits holds it
        self._arrived = threading.Condition()
        self._waiting: deque[Body] = deque()
        self._waiting_bytes = 0
        self._ready: deque[_Ready] = deque()
        self._ready_changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._stopping = False
        self._reader_done = False

    def ingest(
        self, block: LineBlock, *, positions: Mapping[str, str] | None = None, backfill: bool = False
    ) -> Receipt:
        """Bring one block in; it is durable when this returns."""
        prepared = self.pipeline.prepare(block)
        return receipt_of(block, self._commit(prepared, positions, backfill))

    def load(
        self, source: Source, *, on_commit: Callable[[Receipt], None] | None = None, backfill: bool = True
    ) -> None:
        """Bring a whole source in, parsing the next block while one is committed.

        An interrupted load of the same file goes on where it stopped.
        """
        name = source.name
        after = self._store.positions().get(name)
        with ThreadPoolExecutor(1, "dangol-read") as reader:
            blocks = source.blocks(self.rules.input_fields, after)
            coming = reader.submit(self._prepare_next, blocks)
            while (found := coming.result()) is not None:
                coming = reader.submit(self._prepare_next, blocks)
                prepared, position = found
                result = self._commit(prepared, {name: position}, backfill)
                if on_commit is not None:
                    on_commit(receipt_of(prepared.block, result))
        self._forget_position(name)

    def _prepare_next(self, blocks: Iterator[tuple[LineBlock, str]]) -> tuple[Prepared, str] | None:
        found = next(blocks, None)
        return None if found is None else (self.pipeline.prepare(found[0]), found[1])

    def _forget_position(self, name: str) -> None:
        """Let a file that was read to its end be read from its beginning when it is loaded again."""
        with self._lock, self._store.transaction() as database:
            database.execute("DELETE FROM positions WHERE source = ?", (name,))

    def _commit(self, prepared: Prepared, positions: Mapping[str, str] | None, backfill: bool) -> BlockResult:
        with self._lock:
            begin = time.perf_counter()
            result = self.pipeline.step(prepared, positions=positions, backfill=backfill)
            self.timings.committed(len(prepared.block), time.perf_counter() - begin, self._wall.now())
            self._keep_house()
        return result

    def _keep_house(self) -> None:
        """Do what is due between commits; if it fails, the commit before it stands, and it is tried again."""
        try:
            self.pipeline.tidy()
            self._fit_when_due()
        except (DangolError, OSError):
            log.exception("housekeeping failed, it is tried again after the next commit")
            self.pipeline.reload()

    def _fit_when_due(self) -> None:
        threshold = self.settings.auto_fit_customers
        if not threshold or not wants_first_fit(self.pipeline.book, threshold):
            return
        try:
            fit_model(self.pipeline, self._wall.now(), promote=True)
        except FitRefused as refused:  # the batch is committed all the same; tried again with more customers
            log.info("fit refused customers=%d reason=%r", self.pipeline.book.count, str(refused))

    def submit(self, body: bytes) -> Future[Receipt]:
        """Hand in lines of JSON; the future is done when they are durable.

        Raises TooLarge for a body over the limit, Busy when too much waits, StoreFailed once stopped.
        """
        limit = self.settings.max_body_bytes
        if len(body) > limit:
            message = (
                f"the body has {len(body):,} bytes, more than max_body_bytes = {limit:,}: send it in parts"
            )
            raise TooLarge(message)
        with self._arrived:
            if self._stopping or not self._threads:
                message = "the engine is not running: start it, or send again when it is back"
                raise StoreFailed(message)
            if self._waiting_bytes + len(body) > self.settings.queue_bytes:
                message = (
                    f"{self._waiting_bytes:,} bytes wait for a commit, the limit is queue_bytes ="
                    f" {self.settings.queue_bytes:,}: send again in a second"
                )
                raise Busy(message)
            waiting = Body(body, Future(), time.perf_counter())
            self._waiting.append(waiting)
            self._waiting_bytes += len(body)
            self._arrived.notify()
        return waiting.future

    @property
    def waiting_bytes(self) -> int:
        """Bytes that were handed in and are not committed yet."""
        return self._waiting_bytes

    @property
    def running(self) -> bool:
        """Whether both threads of a started engine are alive."""
        return bool(self._threads) and all(thread.is_alive() for thread in self._threads)

    def start(self) -> None:
        """Start the two threads that serve `submit` and act on changes by time."""
        self._stopping = self._reader_done = False
        sys.setswitchinterval(_SWITCH_SECONDS)
        self._threads = [
            threading.Thread(target=self._read_bodies, name="dangol-parse", daemon=True),
            threading.Thread(target=self._commit_bodies, name="dangol-commit", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Commit what was handed in and stop the threads."""
        with self._arrived:
            self._stopping = True
            self._arrived.notify_all()
        for thread in self._threads:
            thread.join()
        self._threads = []

    def close(self) -> None:
        """Stop and let go of the data folder."""
        self.stop()
        self.pipeline.history.close()
        self.view.close()
        self._store.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _next_group(self) -> Group | None:
        """Take all bodies that wait, up to a batch; None when the engine stops and nothing waits."""
        with self._arrived:
            while not self._waiting and not self._stopping:
                self._arrived.wait()
            if not self._waiting:
                return None
            bodies = [self._waiting.popleft()]
            size = len(bodies[0].data)
            while self._waiting and size + len(self._waiting[0].data) <= self.settings.batch_bytes:
                bodies.append(self._waiting.popleft())
                size += len(bodies[-1].data)
        return Group.of(bodies)

    def _read_bodies(self) -> None:
        while (group := self._next_group()) is not None:
            try:
                block = parse_ndjson(
                    group.data, self.rules.input_fields, max_line_bytes=self.settings.max_line_bytes
                )
                ready = _Ready(group, self.pipeline.prepare(block))
            except Exception as cause:
                log.exception("batch could not be prepared bodies=%d bytes=%d", len(group.bodies), group.size)
                self._finish(group, cause=cause)
                continue
            with self._ready_changed:
                while self._ready:
                    self._ready_changed.wait()
                self._ready.append(ready)
                self._ready_changed.notify_all()
        with self._ready_changed:
            self._reader_done = True
            self._ready_changed.notify_all()

    def _commit_bodies(self) -> None:
        while True:
            with self._ready_changed:
                if not self._ready and not self._reader_done:
                    self._ready_changed.wait(self._seconds_to_next_due())
                ready = self._ready.popleft() if self._ready else None
                self._ready_changed.notify_all()
                if ready is None and self._reader_done:
                    return
            if ready is None:
                self._act_on_time()
            else:
                self._commit_group(ready)

    def _commit_group(self, ready: _Ready) -> None:
        try:
            result = self._commit(ready.prepared, None, backfill=False)
        except Exception as cause:
            log.exception("batch was not committed bodies=%d", len(ready.group.bodies))
            self._finish(ready.group, cause=cause)
            return
        receipts = split_result(ready.group, ready.prepared.block, result)
        done = time.perf_counter()
        self.timings.acknowledged([done - body.arrived for body in ready.group.bodies])
        self._finish(ready.group, receipts=receipts)

    def _finish(
        self, group: Group, *, receipts: Sequence[Receipt] = (), cause: Exception | None = None
    ) -> None:
        with self._arrived:
            self._waiting_bytes -= group.size
        for place, body in enumerate(group.bodies):
            if cause is not None:
                body.future.set_exception(cause)
            else:
                body.future.set_result(receipts[place])

    def _seconds_to_next_due(self) -> float:
        if self.settings.clock == "event":
            return 1.0
        due = self.pipeline.book.due.earliest()
        return 1.0 if due is None else min(1.0, max(0.0, (due - self._wall.now()) / 1e6))

    def _act_on_time(self) -> None:
        """Move whoever is due on the wall clock; the event clock moves with events alone."""
        if self.settings.clock == "event":
            return
        try:
            self.pass_time()
        except Exception:
            log.exception("changes by time were not committed; trying again in a second")
            time.sleep(1.0)

    def pass_time(self) -> int:
        """Act on all changes that are due on the wall clock; return how many there were."""
        with self._lock:
            moved = self.pipeline.pass_time(self._wall.now())
            self._keep_house()
        return moved

    def status(self) -> Status:
        """Return counters, rates and sizes as of the last commit."""
        with self._lock:
            return status_of(self)

    def fit(self, *, promote: bool, seed: int = 0) -> Model:
        """Fit a model on all customers as of the engine's clock; raises FitRefused."""
        with self._lock:
            return fit_model(self.pipeline, self._wall.now(), promote=promote, seed=seed)

    def promote(self, version: int) -> int:
        """Judge all customers by another model from now on; return how many changed segment."""
        with self._lock:
            return promote_model(self.pipeline, version)

    def erase(self, customer: str, *, block: bool = False) -> EraseReceipt:
        """Remove a customer from every file; raises NotFound."""
        with self._lock:
            receipt = erase(self.pipeline, customer, block=block, at=self._wall.now())
        self.view.reopen()
        return receipt

    def replay_rejects(self, seqs: Sequence[int] | None = None) -> Receipt:
        """Bring open rejects in again (all if `seqs` is None), as after a change of the rule file."""
        with self._lock:
            return replay_rejects(self.pipeline, seqs, self.settings.max_line_bytes)


def open_engine(settings: Settings, *, wall: Clock | None = None) -> Engine:
    """Open or make the data folder of `settings`; raises FolderInUse, FolderTooNew, FolderDamaged, BadRule."""
    settle()
    rules = DuckDbRules() if settings.rules is None else DuckDbRules.from_file(settings.rules)
    store = LocalStore(settings.data)
    try:
        return Engine(settings, store, rules, wall or WallClock())
    except BaseException:
        store.close()
        raise
