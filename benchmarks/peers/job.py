"""What all peer jobs share: the lines to read, the densities to compute, and the figures to print."""

from __future__ import annotations

import json
import math
import resource
import sys
import time
from pathlib import Path

import msgspec
import numpy as np

BATCH = 1 << 20  # bytes read at a time


class Line(msgspec.Struct):
    """The fields that the job needs, typed: msgspec skips all others."""

    InvoiceNo: str | None = None
    Quantity: int | None = None
    UnitPrice: float | None = None
    InvoiceDate: str | None = None
    CustomerID: str | None = None


DECODER = msgspec.json.Decoder(Line)


def pieces(path):
    """Yield pieces of whole lines."""
    with Path(path).open("rb") as file:
        held = b""
        while piece := file.read(BATCH):
            end = piece.rfind(b"\n") + 1
            yield held + piece[:end]
            held = piece[end:]
        if held:
            yield held


def accepted(piece):
    """Return (customer, (invoice, units, money in millionths, time as text)) of each accepted line."""
    found = []
    for line in DECODER.decode_lines(piece):
        customer, units, price = line.CustomerID, line.Quantity, line.UnitPrice
        invoice, at = line.InvoiceNo, line.InvoiceDate
        whole = customer and units and price and at and invoice
        if whole and price > 0 and (invoice[0] == "C") == (units < 0):
            found.append((customer, (invoice, units, units * round(price * 1e6), at)))
    return found


class Mixture:
    """The four weighted log-densities of many customers at once."""

    def __init__(self, path):
        card = json.loads(Path(path).read_text())
        self.floor = card["features"]["monetary_floor"]
        self.groups = []
        for group in card["groups"].values():
            covariance = np.array(group["covariance"])
            constant = math.log(group["weight"]) - 0.5 * math.log(np.linalg.det(covariance))
            self.groups.append((np.array(group["mean"]), np.linalg.inv(covariance), constant))

    def segments(self, days, frequency, money):
        """Return the likeliest group of each customer."""
        rows = np.stack([np.log1p(days), np.log(frequency), np.log(np.maximum(money, self.floor))], axis=1)
        scores = np.empty((len(rows), len(self.groups)))
        for column, (mean, inverse, constant) in enumerate(self.groups):
            off = rows - mean
            scores[:, column] = constant - 0.5 * ((off @ inverse) * off).sum(axis=1)
        return scores.argmax(axis=1)


class Meter:
    """Measures from its making to `print`: of all threads, and of child processes that have ended."""

    def __init__(self):
        self.wall, self.cpu = time.perf_counter(), self._cpu()

    @staticmethod
    def _cpu():
        own, theirs = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
        return own.ru_utime + own.ru_stime + theirs.ru_utime + theirs.ru_stime

    def print(self, path, *, customers, frequency, monetary, more_cpu=0.0):
        """Print the figures; `more_cpu` is what was used in processes that are not this one's children."""
        wall, cpu = time.perf_counter() - self.wall, self._cpu() - self.cpu + more_cpu
        lines = sum(piece.count(b"\n") for piece in pieces(path))
        figures = {
            "lines": lines,
            "wall": wall,
            "cpu": cpu,
            "lines_per_second": lines / wall,
            "lines_per_cpu_second": lines / cpu,
            "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "customers": customers,
            "frequency": frequency,
            "monetary": monetary,
        }
        sys.stdout.write(json.dumps(figures) + "\n")
