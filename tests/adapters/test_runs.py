"""The run index finds exactly the rows that were added, wherever they are by now."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dangol.adapters import runs
from dangol.adapters.runs import RunFile, RunIndex, merge_runs
from dangol.errors import FolderDamaged

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.integers(0, 40), max_size=30)),
        st.tuples(st.just("flush"), st.just([])),
        st.tuples(st.just("merge"), st.just([])),
    ),
    max_size=25,
)


def flush(index: RunIndex, sequence: int) -> None:
    file = index.write(sequence)
    if file:
        index.attach([*index.files, file])
        index.forget_memory()


def merge(folder: Path, index: RunIndex) -> None:
    files = index.files
    if len(files) > 1:
        index.attach([merge_runs(folder, files)])


@given(STEPS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_find_and_scan_equal_a_plain_list(tmp_path_factory: pytest.TempPathFactory, steps: list) -> None:
    folder = tmp_path_factory.mktemp("runs")
    index = RunIndex(folder, "seen", width=2, capacity=4)
    rows: list[tuple[int, int]] = []
    for place, (step, keys) in enumerate(steps):
        if step == "add":
            new = [(key << 20, len(rows) + i) for i, key in enumerate(keys)]
            rows += new
            index.add(np.array(new, np.uint64).reshape(len(new), 2))
        elif step == "flush":
            flush(index, place)
        else:
            merge(folder, index)
    asked = np.array([key << 20 for key in range(42)], np.uint64)
    places, found = index.find(asked)
    assert sorted(
        (int(asked[p]), int(r[0]), int(r[1])) for p, r in zip(places, found, strict=True)
    ) == sorted((key, key, value) for key, value in rows)
    ranges = np.array([3 << 20, 17 << 20], np.uint64), np.array([9 << 20, (30 << 20) + 1], np.uint64)
    inside = [
        r for r in rows if any(low <= r[0] < high for low, high in zip(*map(list, ranges), strict=True))
    ]
    assert sorted(map(tuple, index.scan(*ranges).tolist())) == sorted(inside)


def test_a_merge_larger_than_a_slice_keeps_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_MERGE_ROWS", 1000)
    index = RunIndex(tmp_path, "seen", width=3)
    rng = np.random.default_rng(1)
    rows = rng.integers(0, 5000, (20_000, 3)).astype(np.uint64) << np.uint64(40)
    for place in range(5):
        index.add(rows[place::5])
        flush(index, place)
    merge(tmp_path, index)
    places, found = index.find(np.unique(rows[:, 0]))
    assert len(index.files) == 1
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, rows.tolist()))


def test_absent_keys_seldom_touch_a_run(tmp_path: Path) -> None:
    index = RunIndex(tmp_path, "seen", width=2)
    rng = np.random.default_rng(2)
    index.add(rng.integers(0, 1 << 62, (50_000, 2)).astype(np.uint64))
    flush(index, 1)
    places, _ = index.find(rng.integers(0, 1 << 62, 10_000).astype(np.uint64))
    assert len(places) == 0


def test_a_cut_run_is_named_as_damage(tmp_path: Path) -> None:
    index = RunIndex(tmp_path, "seen", width=2)
    index.add(np.ones((10, 2), np.uint64))
    file = index.write(1)
    assert file is not None
    path = tmp_path / file.name
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(FolderDamaged, match=file.name):
        index.attach([RunFile(name=file.name, level=0, rows=10)])
