"""Hashes tell texts and numbers apart, and nothing but what they say goes into them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from dangol.core.identity import hash_columns, hex_ids, text_view

TEXTS = st.lists(st.text(max_size=20) | st.none(), max_size=20)


def hashes(columns, n: int, seed: int = 0) -> list[tuple[int, int]]:
    first, second = hash_columns(columns, n, seed)
    return list(zip(first.tolist(), second.tolist(), strict=True))


@given(TEXTS)
def test_equal_texts_have_equal_hashes_and_others_do_not(texts: list[str | None]) -> None:
    found = hashes([pa.array(texts, pa.string())], len(texts))
    known = [text or "" for text in texts]
    assert [[a == b for a in found] for b in found] == [[a == b for a in known] for b in known]


@given(TEXTS, st.integers(0, 5), st.integers(0, 20))
def test_a_slice_hashes_as_its_texts_do(texts: list[str | None], begin: int, length: int) -> None:
    part = pa.array(texts, pa.string()).slice(min(begin, len(texts)), length)
    assert hashes([part], len(part)) == hashes([pa.array(part.to_pylist(), pa.string())], len(part))


def test_bytes_hidden_under_a_null_do_not_count() -> None:
    """Arrow lets a null text have bytes; engines that mask a column leave them there."""
    offsets, data = pa.py_buffer(np.array([0, 2, 5], np.int32)), pa.py_buffer(b"abcde")
    hidden = pa.StringArray.from_buffers(2, offsets, data, pa.py_buffer(b"\x01"), 1)
    plain = pa.array(["ab", None])
    assert hidden.equals(plain)
    assert hashes([hidden], 2) == hashes([plain], 2)


def test_the_border_between_two_columns_counts() -> None:
    first = hashes([pa.array(["ab"]), pa.array(["c"])], 1)
    assert first != hashes([pa.array(["a"]), pa.array(["bc"])], 1)
    assert first != hashes([pa.array(["abc"]), pa.array([""])], 1)


def test_numbers_count_with_their_sign_and_seeds_change_everything() -> None:
    numbers = np.array([0, 1, -1, 2**62, -(2**63)])
    assert len(set(hashes([numbers], 5)) | set(hashes([numbers], 5, seed=1))) == 10


def test_a_hash_never_changes_for_it_is_stored_on_disk() -> None:
    texts = pa.array(["", "a", "12345678", "단골, a regular"])
    assert hex_ids("h-", hash_columns([texts, np.arange(4)], 4, 7)).to_pylist() == PINNED


PINNED = [
    "h-3498755752c1b991d938b64c4b052b19",
    "h-7017de22f975bf3491254bddf60ae08e",
    "h-6f58daf130dfd973364f1e569070eee1",
    "h-40e85bf084dbfe3e07e33a18c89cb16d",
]


def test_hex_ids_are_32_digits_behind_the_prefix() -> None:
    ids = hex_ids("hash-", (np.array([1], np.uint64), np.array([2**64 - 1], np.uint64)))
    assert ids.to_pylist() == ["hash-0000000000000001ffffffffffffffff"]
    assert len(hex_ids("hash-", hash_columns([], 0))) == 0


def test_a_text_view_of_nothing_is_empty() -> None:
    offsets, text = text_view(pa.array([], pa.string()))
    assert (offsets.tolist(), len(text)) == ([0], 0)
    assert hashes([pa.nulls(2, pa.string())], 2) == hashes([pa.array(["", ""])], 2)
