"""`dangol verify`, `rejects` and `erase`: keeping the data right."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from dangol.errors import DangolError, UsageError
from dangol.serve.cli.app import common, engine_on, engine_options, load_kernels, patience, settings_of
from dangol.serve.cli.looking import reading

__all__ = ["erase", "rejects", "verify"]

RAW_SHOWN = 100


class Unequal(DangolError):
    """The stored states are not what the stored lines give."""


@click.command()
@common
def verify(data: Path | None, as_json: bool) -> None:
    """Compute every customer anew from the stored lines, in plain SQL, and compare.

    Works beside a running engine. Exits with 1 if anything differs.
    """
    from dangol.serve.terminal import counted, emit, show

    with patience():
        from dangol.verify import verify as compare

    found = compare(settings_of(data).data)
    if as_json:
        emit(dataclasses.asdict(found))
    elif found.equal:
        show(f"Equal: {counted(found.customers, 'customer')}, computed anew from all stored lines.")
    for row in found.differences if not as_json else ():
        whose = "the folder" if row["customer"] is None else f"customer {row['customer']}"
        show(f"{whose}: {row['field']} is stored as {row['stored']}, computed as {row['computed']}")
    if not found.equal:
        message = "what is stored differs from what the lines give: keep the data folder and report it"
        raise Unequal(message)


@click.group()
def rejects() -> None:
    """List rejected lines, and bring them in again."""


@rejects.command("list")
@common
@click.option("--reason", help="Only those rejected for this reason.")
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1, 1_000_000), help="How many at most."
)
@click.option("--after", default=0, type=click.IntRange(0), metavar="SEQ", help="Begin behind this one.")
def list_rejects(data: Path | None, as_json: bool, reason: str | None, limit: int, after: int) -> None:
    """List rejected lines: why, which field, and the original bytes."""
    from dangol.serve.terminal import emit, show, table

    with reading(data) as view:
        rows = view.rejects(after=after, limit=limit, reason=reason)
        counts = view.counters()["rejected"]
    if as_json:
        return emit({"rejects": rows, "next": rows[-1]["seq"] if rows else after, "reasons": counts})
    made = table("seq", "reason", "field", "status", "line", right=("seq",))
    for row in rows:
        raw = row["raw"] if len(row["raw"]) <= RAW_SHOWN else row["raw"][:RAW_SHOWN] + "…"
        made.add_row(str(row["seq"]), row["reason"], row["field"], row["status"], _plain(raw))
    show(made, "", f"Rejected in all: {_counted(counts)}.")
    return None


def _plain(raw: str) -> Any:
    from rich.text import Text

    return Text("".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in raw))


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items()) or "none"


@rejects.command("replay")
@click.argument("seqs", nargs=-1, type=int, metavar="[SEQ]...")
@common
@engine_options
def replay_rejects(
    seqs: tuple[int, ...], data: Path | None, as_json: bool, rules: Path | None, clock: str | None
) -> None:
    """Bring rejected lines in again, as after a change of the cleanse file: all that are open, or SEQ ...

    A line that is rejected again stays listed and counts as a duplicate of itself.
    """
    from dangol.serve.cli.runs import RunCounts
    from dangol.serve.terminal import counts_table, emit, show

    load_kernels()
    settings = settings_of(data, rules=rules, clock=clock)
    _need_folder(settings.data)
    counts = RunCounts()
    with engine_on(settings) as engine:
        counts.add(engine.replay_rejects(list(seqs) or None))
    if as_json:
        emit(counts.as_dict())
    else:
        show(counts_table(counts.as_dict()))


def _need_folder(data: Path) -> None:
    """Refuse to make a new data folder where one is meant that is there."""
    from dangol.view import View

    View.open(data).close()


@click.command()
@click.argument("customer", metavar="ID")
@common
@click.option("--block", is_flag=True, help="Reject lines that come for this customer later.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def erase(customer: str, data: Path | None, as_json: bool, block: bool, yes: bool) -> None:
    """Erase a customer from every file of the data folder. It cannot be undone."""
    from dangol.render import iso
    from dangol.serve.terminal import counted, emit, show

    load_kernels()
    settings = settings_of(data)
    with reading(data) as view:
        found = view.customer(customer)
    if not yes:
        _ask(found)
    with engine_on(settings) as engine:
        receipt = engine.erase(customer, block=block)
    fields = dataclasses.asdict(receipt) | {"at": iso(receipt.at)}
    if as_json:
        return emit(fields)
    later = (
        "lines that come for it are rejected" if block else "lines that come for it make it a new customer"
    )
    show(
        f"Erased: {counted(receipt.lines, 'line')}, {counted(receipt.changes, 'change')}, "
        f"{counted(receipt.rejects, 'rejected line')}. From now on {later}."
    )
    return None


def _ask(found: Mapping[str, Any]) -> None:
    if not sys.stdin.isatty():
        message = f"erasing {found['customer']} cannot be undone and nobody can be asked here: add --yes"
        raise UsageError(message)
    from dangol.serve.terminal import counted

    lines = counted(found["lines"], "line")
    click.confirm(f"Erase customer {found['customer']} ({lines}) for good?", abort=True, err=True)
