"""Bytewax: a partition that hands out pieces of whole lines, batch parse, state by customer, batch scoring.

Its best reasonable way: one piece of 1 MB is one item, so that its lines are parsed in one call and grouped
by customer before they meet the engine: each customer is one message a piece. Recovery is on, an epoch is
one second, so states are snapshot each second.

With `lines` as a fourth argument each line is a message to its customer, as a first version would have it;
pieces are parsed in one call all the same.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import bytewax.operators as op
import numpy as np
from bytewax._bytewax import cli_main
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from job import Meter, Mixture, accepted, pieces

FILE, CARD, FOLDER = sys.argv[1:4]
NOW = np.datetime64("2030-01-01", "s")


class _Part(StatefulSourcePartition):
    def __init__(self, path, done):
        self.pieces = pieces(path)
        self.done = done or 0
        for _ in range(self.done):
            next(self.pieces)

    def next_batch(self):
        piece = next(self.pieces, None)
        if piece is None:
            raise StopIteration
        self.done += 1
        return [piece]

    def snapshot(self):
        return self.done


class File(FixedPartitionedSource):
    """One file, one partition."""

    def list_parts(self):
        """Return the one part."""
        return [FILE]

    def build_part(self, step_id, for_part, resume_state):
        """Open it where it stopped."""
        return _Part(for_part, resume_state)


class Rfm(StatefulBatchLogic):
    """A customer: invoices bought, money, time of the latest purchase."""

    def __init__(self, state):
        self.invoices, self.money, self.last = state or (set(), 0, "")

    def on_batch(self, values):
        """Take in the lines of a few pieces."""
        for lines in values:
            for invoice, units, money, at in lines:
                self.money += money
                if units > 0:
                    self.invoices.add(invoice)
                    if at > self.last:
                        self.last = at
        return [(len(self.invoices), self.money, self.last)], StatefulBatchLogic.RETAIN

    def snapshot(self):
        """Return what recovery keeps."""
        return set(self.invoices), self.money, self.last


def grouped(piece):
    """Parse a piece and group its lines by customer."""
    found = {}
    for customer, line in accepted(piece):
        if customer in found:
            found[customer].append(line)
        else:
            found[customer] = [line]
    return found.items()


def single(piece):
    """Parse a piece and leave each line by itself."""
    return [(customer, [line]) for customer, line in accepted(piece)]


MIXTURE = Mixture(CARD)
PARSE = single if sys.argv[4:] == ["lines"] else grouped


def scored(pieces_of_states):
    """Score all customers of a batch at once."""
    live = [(customer, *state) for customer, state in pieces_of_states if state[0]]
    out = [(customer, (*state, -1)) for customer, state in pieces_of_states if not state[0]]
    if live:
        customers, frequency, money, last = zip(*live, strict=True)
        days = (NOW - np.array(last, "datetime64[s]")) / np.timedelta64(1, "D")
        segments = MIXTURE.segments(days, np.array(frequency), np.array(money) / 1e6).tolist()
        out += zip(customers, zip(frequency, money, last, segments, strict=True), strict=True)
    return out


STATES = {}


class _Keep(StatelessSinkPartition):
    def write_batch(self, items):
        STATES.update(items)


class Sink(DynamicSink):
    """Keeps the latest state of each customer."""

    def build(self, step_id, worker_index, worker_count):
        """Make the one sink."""
        return _Keep()


flow = Dataflow("rfm")
lines = op.input("lines", flow, File())
keyed = op.flat_map_batch("parse", lines, lambda batch: [pair for piece in batch for pair in PARSE(piece)])
states = op.stateful_batch("rfm", keyed, Rfm)
op.output("out", op.flat_map_batch("score", states, scored), Sink())

recovery = Path(FOLDER) / "recovery"
recovery.mkdir()
init_db_dir(recovery, 1)
meter = Meter()
cli_main(flow, epoch_interval=timedelta(seconds=1), recovery_config=RecoveryConfig(recovery))
meter.print(
    FILE,
    customers=len(STATES),
    frequency=sum(state[0] for state in STATES.values()),
    monetary=sum(state[1] for state in STATES.values() if state[0]),
)
