"""Laws of the pacing: nothing lost or doubled, and the rate is kept whatever happens in between."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dangol.errors import UsageError
from dangol.serve.lines import LineChunk
from dangol.serve.pacing import MAX_BODY_BYTES, MAX_BODY_LINES, Pace, paced_bodies


def timed(*texts: str) -> LineChunk:
    return LineChunk.of("".join(f'{{"InvoiceDate":"{text}"}}\n' for text in texts).encode())


@given(st.lists(st.binary(max_size=20).filter(lambda b: b"\n" not in b), max_size=50), st.booleans())
def test_bodies_joined_are_the_chunk(lines: list[bytes], ended: bool) -> None:
    body = b"\n".join(lines) + (b"\n" if ended else b"")
    chunk = LineChunk.of(body)
    bodies = list(paced_bodies([chunk, chunk], Pace()))
    assert b"".join(part for part, _ in bodies) == body + body
    lines_of_body = body.count(b"\n") + (body != b"" and not body.endswith(b"\n"))
    assert sum(count for _, count in bodies) == 2 * len(chunk) == 2 * lines_of_body


@given(st.lists(st.integers(1, 400_000), min_size=1, max_size=12))
def test_bodies_stay_within_their_limits_unless_one_line_is_longer(sizes: list[int]) -> None:
    chunk = LineChunk.of(b"".join(b"x" * (size - 1) + b"\n" for size in sizes))
    for body, count in paced_bodies([chunk], Pace()):
        assert count <= MAX_BODY_LINES
        assert len(body) <= MAX_BODY_BYTES or count == 1


@pytest.mark.parametrize("rate", [40, 999, 20_000])
def test_a_rate_is_kept(rate: int) -> None:
    pace = Pace(rate=rate)
    began = time.monotonic()
    threading.Timer(0.5, pace.stop).start()
    sent = sum(count for _, count in paced_bodies([LineChunk.of(b"{}\n" * 100_000)], pace))
    due = rate * (time.monotonic() - began)
    assert 0.2 * due <= sent <= due + 1  # never ahead of its time, however loaded the machine is


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_after_a_stall_no_flood_follows() -> None:
    clock = Hand()
    pace = Pace(rate=100, clock=clock)
    chunk = LineChunk.of(b"{}\n" * 10_000)
    clock.now = 1.0
    threading.Timer(0.05, lambda: setattr(clock, "now", 1.5)).start()
    pace.granted(chunk, 0)
    clock.now = 3600.0
    assert pace.granted(chunk, 0) <= 100


def test_another_rate_counts_from_when_it_is_given() -> None:
    pace = Pace(rate=0.001)
    threading.Timer(0.1, lambda: pace.change(rate=50_000)).start()
    began = time.monotonic()
    assert pace.granted(LineChunk.of(b"{}\n" * 5000), 0) >= 1
    assert time.monotonic() - began < 5


def test_a_pause_holds_and_going_on_lets_go() -> None:
    pace = Pace()
    pace.change(paused=True)
    done = threading.Event()
    thread = threading.Thread(target=lambda: (pace.granted(LineChunk.of(b"{}\n"), 0), done.set()))
    thread.start()
    assert not done.wait(0.2)
    pace.change(paused=False)
    assert done.wait(5)
    thread.join()


def test_lines_of_one_moment_go_together_and_later_ones_wait() -> None:
    clock = Hand()
    pace = Pace(speed=60, clock=clock)
    chunk = timed("2010-12-01T08:26:00", "2010-12-01T08:26:00", "2010-12-01T08:27:00", "2010-12-01T09:27:00")
    assert pace.granted(chunk, 0) == 2
    clock.now = 1.01  # a minute of the shop's time
    assert pace.granted(chunk, 2) == 1


def test_times_never_fall_and_unreadable_ones_take_their_neighbours() -> None:
    times = timed("2010-12-01T08:26:00Z", "?", "2010-12-01T08:00:00", "2010-12-01 09:00:00").times
    first = int(np.datetime64("2010-12-01T08:26", "us").astype(np.int64))
    assert times.tolist() == [first, first, first, first + 34 * 60 * 1_000_000]


def test_a_file_without_times_cannot_be_played_at_its_own_speed() -> None:
    with pytest.raises(UsageError, match="InvoiceDate"):
        _ = timed("?", "yesterday").times
