"""One micro-batch, from lines as they came to a durable commit.

prepare: cleanse the block, name and mark its lines           (touches no state; may run ahead)
step:    dedupe -> number -> fold -> score -> store -> apply  (one batch at a time)
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dangol.adapters.line_log import MAX_BATCH_ROWS, STORED, pointers
from dangol.adapters.local import LocalStore
from dangol.adapters.local_commit import ChangeRows, Commit, Reject
from dangol.adapters.local_history import LocalHistory, invoice_hash, invoice_rows
from dangol.batch import ACCEPTED, ANONYMOUS, DUPLICATED, REJECTED, BlockResult, Prepared, totals_of
from dangol.book import Book, Totals
from dangol.core.changes import CAUSES, Moves, Span, moves_by_time, moves_of_touched
from dangol.core.dedupe import (
    CONFLICT,
    DUPLICATE,
    NEW,
    judge,
    mark_lines,
    mark_rejects,
    with_event_ids,
)
from dangol.core.fold import Facts, empty_states, fold
from dangol.core.identity import UInt64, digest
from dangol.core.schema import NEVER, Int64, LineBlock, States
from dangol.errors import TooLarge
from dangol.ports import Clock, SqlEngine

__all__ = ["Pipeline"]

_HOUR = 3_600_000_000
_MOMENT = STORED.field("at").type
_NO_NAMES = pa.array([], pa.string())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fresh:
    """The lines of a block that are new, with customer or without."""

    lines: pa.RecordBatch
    marks: UInt64
    rejects: list[tuple[int, str, str]]
    raw: list[bytes]
    refused: frozenset[int]
    """Rows that were rejected, now or when they came before."""


class Pipeline:
    """The writer's loop over one data folder; `step` and `pass_time` are called by one thread at a time."""

    def __init__(
        self, store: LocalStore, rules: SqlEngine, wall: Clock, *, event_clock: bool, max_ahead_hours: int
    ) -> None:
        self.store = store
        self._rules = rules
        self._cleansing = threading.Lock()
        self._wall = wall
        self._event_clock = event_clock
        self._max_ahead = max_ahead_hours * _HOUR
        self._seed = int(store.meta("hash_seed"))
        self._read()

    @property
    def input_fields(self) -> tuple[str, ...]:
        """The fields that the rule file reads."""
        return self._rules.input_fields

    @property
    def customer_field(self) -> str:
        """The input field that holds the customer's id."""
        return self._rules.input_name("customer")

    def reload(self) -> None:
        """Take everything from the store again, as after a failed commit."""
        self.history.close()
        self.store.recall()
        self._read()

    def _read(self) -> None:
        self.book = Book(self.store)
        self._countries: list[str] = []
        self.history = LocalHistory(self.store, self.book.products)
        self.blocked = {bytes(row[0]) for row in self.store.database.execute("SELECT digest FROM blocked")}

    def prepare(self, block: LineBlock) -> Prepared:
        """Cleanse a block; safe beside `step`, for it reads no state."""
        with self._cleansing:  # a sender's body and a replay of rejects may come at the same moment
            cleansed = self._rules.cleanse(block)
        found = cleansed.rejects
        rejects = list(zip(found.row.tolist(), found.reason, found.field, strict=True))
        lines = cleansed.lines
        ahead = lines.column("at").to_numpy() > self._wall.now() + self._max_ahead
        if ahead.any():
            rows = lines.column("row").to_numpy()[ahead].tolist()
            rejects += [(row, "time_in_the_future", self._rules.input_name("at")) for row in rows]
            lines = lines.filter(pa.array(~ahead))
        if len(lines) > MAX_BATCH_ROWS:
            message = (
                f"{len(lines):,} lines came at once, a batch holds {MAX_BATCH_ROWS:,}: send them in parts"
            )
            raise TooLarge(message)
        lines = with_event_ids(lines)
        return Prepared(block=block, lines=lines, marks=mark_lines(lines, self._seed), rejects=tuple(rejects))

    def step(
        self,
        prepared: Prepared,
        *,
        positions: Mapping[str, str] | None = None,
        backfill: bool = False,
        replay_of: Sequence[int] = (),
    ) -> BlockResult:
        """Bring a prepared block into the store, all of it or nothing, and into memory.

        `replay_of` names the stored reject behind each row of a block of replayed rejects.
        """
        try:
            return self._step(prepared, dict(positions or {}), backfill, replay_of)
        except BaseException:  # Ctrl-C too: memory must be what was committed, no more and no less
            self.reload()
            raise

    def _step(
        self, prepared: Prepared, positions: dict[str, str], backfill: bool, replay_of: Sequence[int]
    ) -> BlockResult:
        outcome = np.full(len(prepared.block), REJECTED, np.uint8)
        fresh = self._dedupe(prepared, outcome)
        offset = self.store.log_end
        lines, slots, facts = self._number(fresh.lines, offset)
        outcome[fresh.lines.column("row").to_numpy()] = np.where(slots < 0, ANONYMOUS, ACCEPTED)
        touched = np.unique(facts.slot)
        before = self.book.rows(touched)
        folded = fold(touched, before, facts, self.history, countries=self._country_names())
        span = self._span(lines)
        changed, after, moves = self._score(touched, before, folded.after, facts, span)
        totals = self.book.totals.plus(totals_of(outcome, fresh.rejects))
        commit = Commit(
            at=self._wall.now(),
            clock=span.until,
            counters=totals.as_dict(),
            lines=lines if len(lines) else None,
            slots=changed,
            states=after,
            customers=self._new_names("customers"),
            products=self._new_names("products"),
            countries=self._new_names("countries"),
            invoice_rows=invoice_rows(folded.invoices),
            changes=self._change_rows(moves, after, changed, pointers(offset, 1)[0]),
            rejects=[
                Reject(reason=reason, field=field, raw=raw)
                for (_, reason, field), raw in zip(fresh.rejects, fresh.raw, strict=True)
            ],
            replayed=[seq for row, seq in enumerate(replay_of) if row not in fresh.refused],
            positions=positions,
            backfill=backfill,
        )
        seq = self._commit(commit, totals, moves)
        self.history.remember(fresh.marks, folded.lines, commit.invoice_rows)
        return BlockResult(outcome=outcome, rejects=tuple(fresh.rejects), seq=seq)

    def _commit(self, commit: Commit, totals: Totals, moves: Moves) -> int:
        """Make `commit` durable, then take it into memory."""
        seq = self.store.commit(commit)
        book = self.book
        book.totals, book.clock = totals, commit.clock
        book.last_change += len(moves)
        book.apply(commit.slots, commit.states)
        return seq

    def tidy(self) -> None:
        """Do what is due between commits: flush and merge indices, write a snapshot."""
        self.history.tidy()
        if self.store.wants_snapshot(self.book.states):
            self.store.write_snapshot(self.book.states)

    def pass_time(self, until: int) -> int:
        """Move whoever is due by `until` (wall clock); return how many changes that made."""
        return self._move_due(Span(since=min(self.book.clock, until), until=until))

    def _move_due(self, span: Span) -> int:
        book = self.book
        due = book.due.due(span.until, book.states["next_change_at"])
        if not len(due):
            return 0
        rows = book.rows(due)
        moves = moves_by_time(due, rows, span, book.model)
        self.commit_moves(due, rows, moves, clock=span.until)
        return len(moves)

    def commit_moves(
        self,
        slots: Int64,
        rows: States,
        moves: Moves,
        *,
        clock: int,
        model_status: Mapping[int, str] | None = None,
        model_version: int | None = None,
    ) -> None:
        """Commit changes that no lines caused; `rows` are the states of `slots` after them."""
        changes = self._change_rows(moves, rows, slots, -1, model_version)
        commit = Commit(
            at=self._wall.now(),
            clock=clock,
            counters=self.book.totals.as_dict(),
            slots=slots,
            states=rows,
            changes=changes,
            model_status=model_status or {},
        )
        try:
            self._commit(commit, self.book.totals, moves)
        except BaseException:
            self.reload()
            raise

    def _dedupe(self, prepared: Prepared, outcome: NDArray[np.uint8]) -> _Fresh:
        """Set duplicates in `outcome` and return what is left: new lines and new rejects."""
        lines, marks = prepared.lines, prepared.marks
        rows = lines.column("row").to_numpy()
        verdict = judge(marks, self.history)
        outcome[rows[verdict == DUPLICATE]] = DUPLICATED
        new = verdict == NEW
        rejects = list(prepared.rejects)
        rejects += [(int(row), "conflict_with_earlier_event", "") for row in rows[verdict == CONFLICT]]
        if self.blocked:
            blocked = new & self._is_blocked(lines.column("customer"))
            rejects += [(int(row), "customer_was_erased", "") for row in rows[blocked]]
            new &= ~blocked
        rejects.sort()
        raw = prepared.block.raw.texts([row for row, _, _ in rejects])
        raw = [
            b"" if why == "customer_was_erased" else text
            for text, (_, why, _) in zip(raw, rejects, strict=True)
        ]
        reject_marks = mark_rejects(raw, self._seed)
        kept = judge(reject_marks, self.history) == NEW
        kept |= np.array([not text for text in raw], np.bool_)
        for place in np.flatnonzero(~kept):
            outcome[rejects[place][0]] = DUPLICATED
        return _Fresh(
            lines=lines if new.all() else lines.filter(pa.array(new)),
            marks=np.concatenate([marks.rows(new), reject_marks.rows(kept)]),
            rejects=[reject for reject, keep in zip(rejects, kept, strict=True) if keep],
            raw=[text for text, keep in zip(raw, kept, strict=True) if keep],
            refused=frozenset(row for row, _, _ in rejects),
        )

    def _is_blocked(self, customers: pa.Array) -> NDArray[np.bool_]:
        encoded = customers.dictionary_encode()
        known = [
            name is not None and digest(name, self._seed) in self.blocked
            for name in encoded.dictionary.to_pylist()
        ]
        places = encoded.indices.fill_null(-1).to_numpy()
        blocked: NDArray[np.bool_] = np.array([*known, False], np.bool_)[places]
        return blocked

    def _number(self, lines: pa.RecordBatch, offset: int) -> tuple[pa.RecordBatch, Int64, Facts]:
        """Return the lines as they are stored, their slots, and the facts of those with a customer."""
        slots = self.book.customers.numbers(lines.column("customer"))
        columns = {name: lines.column(name) for name in STORED.names if name != "slot"}
        columns["at"] = columns["at"].view(_MOMENT)
        stored = pa.RecordBatch.from_arrays([*columns.values(), pa.array(slots)], schema=STORED)
        own = np.flatnonzero(slots >= 0)
        return (
            stored,
            slots,
            Facts(
                slot=slots[own],
                product=self.book.products.numbers(lines.column("product"))[own],
                invoice=invoice_hash(slots, lines.column("invoice"), self._seed)[own],
                at=lines.column("at").to_numpy()[own],
                quantity=lines.column("quantity").to_numpy()[own],
                unit_price=lines.column("unit_price").to_numpy()[own],
                country=self.book.countries.numbers(lines.column("country"))[own],
                pointer=pointers(offset, len(lines))[own],
                event_id=lines.column("event_id"),
                row=own,
            ),
        )

    def _span(self, lines: pa.RecordBatch) -> Span:
        clock = self.book.clock
        if not self._event_clock:
            now = max(clock, self._wall.now())
            return Span(since=now if clock == NEVER else clock, until=now)
        if not len(lines):
            return Span(since=clock, until=clock)
        at = lines.column("at").view(pa.int64()).to_numpy()
        return Span(since=int(at.min()) if clock == NEVER else clock, until=max(clock, int(at.max())))

    def _score(
        self, touched: Int64, before: States, after: States, facts: Facts, span: Span
    ) -> tuple[Int64, States, Moves]:
        """Return the customers that change (touched or due), their states after, and the moves."""
        book = self.book
        due = book.due.due(span.until, book.states["next_change_at"])
        due = due[~np.isin(due, touched)]
        waiting = book.rows(due)
        by_time = moves_by_time(due, waiting, span, book.model)
        moved = moves_of_touched(
            touched, before, after, self._judged_at(touched, facts, span), span, book.model
        )
        slots = np.concatenate([touched, due])
        order = np.argsort(slots, kind="stable")
        rows = empty_states(len(slots))
        rows[:] = np.concatenate([after, waiting])[order]
        return slots[order], rows, moved.followed_by(by_time)

    def _judged_at(self, touched: Int64, facts: Facts, span: Span) -> tuple[Int64, Int64]:
        """Return the first and the last moment at which the lines of each touched customer count."""
        if not self._event_clock:
            now = np.full(len(touched), span.until, np.int64)
            return now, now
        place = np.searchsorted(touched, facts.slot)
        first, last = np.full(len(touched), np.iinfo(np.int64).max), np.full(len(touched), NEVER)
        np.minimum.at(first, place, facts.at)
        np.maximum.at(last, place, facts.at)
        return first, last

    def _change_rows(
        self, moves: Moves, rows: States, slots: Int64, pointer: int, model_version: int | None = None
    ) -> ChangeRows | None:
        """Return `moves` as they are stored, and note the last one of each customer in `rows`."""
        if not len(moves):
            return None
        first = self.book.last_change + 1
        place = np.searchsorted(slots, moves.slot)
        previous = moves.previous(first, rows["last_change"][place])
        rows["last_change"][place] = first + np.arange(len(moves))
        return ChangeRows(
            first=first,
            slot=moves.slot,
            before=moves.before,
            after=moves.after,
            at=moves.at,
            cause=[CAUSES[cause] for cause in moves.cause.tolist()],
            pointer=np.where(moves.cause == 0, pointer, -1),
            previous=previous,
            model=self.book.model.version if model_version is None else model_version,
        )

    def _country_names(self) -> list[str]:
        if len(self._countries) != len(self.book.countries):
            self._countries = self.book.countries.texts().to_pylist()
        return self._countries

    def _new_names(self, kind: str) -> tuple[int, pa.Array]:
        """Return the names that numbering has given since the last commit."""
        numbering, stored = getattr(self.book, kind), self.book.stored[kind]
        return stored, numbering.texts(stored) if len(numbering) > stored else _NO_NAMES
