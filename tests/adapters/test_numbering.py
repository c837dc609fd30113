"""Numbers are given once, in order of first sight, and lead back to their texts."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from dangol.adapters.numbering import Numbering

TEXTS = st.text(max_size=6) | st.sampled_from(["", "\x00", "a\x00", "단골"])
COLUMNS = st.lists(st.lists(TEXTS | st.none(), max_size=10), max_size=8)


@given(COLUMNS)
def test_numbers_equal_those_of_a_dictionary(columns: list[list[str | None]]) -> None:
    numbering, known = Numbering(), {}
    for column in columns:
        expected = [-1 if text is None else known.setdefault(text, len(known)) for text in column]
        assert numbering.numbers(pa.array(column, pa.string())).tolist() == expected
    assert len(numbering) == len(known)
    assert numbering.texts().to_pylist() == list(known)
    assert [numbering.text(number) for number in range(len(known))] == list(known)
    assert all(numbering.find(text) == number for text, number in known.items())


def test_looking_for_a_text_does_not_number_it() -> None:
    numbering = Numbering(["a"])
    assert numbering.find("b") is None
    assert len(numbering) == 1


def test_a_slice_of_a_column_is_numbered_by_its_own_texts() -> None:
    column = pa.array(["x", "y", None, "z", "y"])
    assert Numbering().numbers(column.slice(1, 3)).tolist() == [0, -1, 1]


def test_a_hundred_thousand_texts_keep_their_numbers_while_the_tables_grow() -> None:
    texts = [f"customer {n}" for n in range(100_000)]
    numbering = Numbering()
    for begin in range(0, len(texts), 7_000):
        numbering.numbers(pa.array(texts[begin : begin + 7_000]))
    assert numbering.numbers(pa.array(texts[::-1])).tolist() == list(range(99_999, -1, -1))
    assert numbering.texts(99_998).to_pylist() == texts[-2:]
    assert numbering.texts(5, 7).to_pylist() == texts[5:7]


def test_a_text_longer_than_the_arena_fits() -> None:
    numbering = Numbering()
    assert numbering.numbers(pa.array(["x" * 100_000, "y"])).tolist() == [0, 1]
    assert len(numbering.text(0)) == 100_000
