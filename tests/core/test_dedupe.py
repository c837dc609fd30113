"""One event delivered twice is one event; the same id with other words is a conflict."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from dangol.core.dedupe import (
    CONFLICT,
    DUPLICATE,
    NEW,
    Marks,
    judge,
    mark_lines,
    mark_rejects,
    with_event_ids,
)
from dangol.core.schema import LINES

SEED = 5
EVENTS = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 2)), max_size=12)


class Seen:
    """All marks in a list."""

    def __init__(self) -> None:
        self.marks = np.empty((0, 2), np.uint64)

    def remember(self, rows) -> None:
        self.marks = np.concatenate([self.marks, rows])

    def find_marks(self, ids):
        hits = [(place, rest) for place, id in enumerate(ids) for known, rest in self.marks if known == id]
        return np.array([p for p, _ in hits], np.int64), np.array([r for _, r in hits], np.uint64)


def lines_of(events: list[tuple[str | None, int]], **changed: object) -> pa.RecordBatch:
    rows = [
        {
            "row": place, "event_id": id, "invoice": "1", "product": "P", "description": None, "quantity": quantity,
            "unit_price": 1, "customer": None, "country": None, "at": 7,
        } | changed
        for place, (id, quantity) in enumerate(events)
    ]  # fmt: skip
    return pa.RecordBatch.from_pylist(rows, LINES)


def by_the_book(events: list[tuple[str, int]], known: dict[str, int]) -> list[int]:
    verdicts = []
    for id, body in events:
        verdicts.append(NEW if id not in known else DUPLICATE if known[id] == body else CONFLICT)
        known.setdefault(id, body)
    return verdicts


@given(EVENTS, EVENTS)
def test_verdicts_equal_those_of_a_dictionary_however_they_are_split(first, second) -> None:
    seen, known, verdicts = Seen(), {}, []
    for batch in (first, second):
        marks = mark_lines(lines_of(batch), SEED)
        verdict = judge(marks, seen)
        seen.remember(marks.rows(verdict == NEW))
        verdicts += verdict.tolist()
    assert verdicts == by_the_book(first + second, known)


def test_every_field_makes_a_difference() -> None:
    plain = mark_lines(lines_of([("a", 1)]), SEED)
    for name in ("invoice", "product", "description", "customer", "country"):
        assert mark_lines(lines_of([("a", 1)], **{name: "other"}), SEED).rest != plain.rest
    for name in ("quantity", "unit_price", "at"):
        assert mark_lines(lines_of([("a", 1)], **{name: 99}), SEED).rest != plain.rest


def test_half_a_hash_in_common_is_no_duplicate() -> None:
    seen = Seen()
    seen.remember(np.array([[1, 0xAAAA << 48 | 5]], np.uint64))
    marks = Marks(id=np.array([1], np.uint64), rest=np.array([0xBBBB << 48 | 5], np.uint64))
    assert judge(marks, seen).tolist() == [NEW]


def test_lines_without_an_id_are_named_by_their_fields() -> None:
    named = with_event_ids(lines_of([(None, 1), ("own", 1), (None, 2), (None, 1)]))
    ids = named.column("event_id").to_pylist()
    assert ids[1] == "own"
    assert ids[0] == ids[3] != ids[2]
    assert all(id.startswith("hash-") for id in (ids[0], ids[2]))
    assert named.schema == LINES


def test_lines_that_all_have_ids_are_left_as_they_are() -> None:
    lines = lines_of([("a", 1), ("", 2)])
    assert with_event_ids(lines) is lines
    assert len(with_event_ids(lines_of([]))) == 0


def test_a_rejected_line_is_known_by_its_bytes_and_never_taken_for_an_event() -> None:
    marks = mark_rejects([b"a", b"b", b"a"], SEED)
    assert judge(marks, Seen()).tolist() == [NEW, NEW, DUPLICATE]
    assert marks.id[0] != mark_lines(lines_of([("a", 1)]), SEED).id[0]
