"""`dangol customers`, `segments` and `changes`: what a person would look up, also beside a running engine."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dangol.serve.cli.app import as_of_option, common, moment, patience, segment_option, settings_of

if TYPE_CHECKING:
    from dangol.view import View

__all__ = ["changes", "customers", "reading", "segments"]

FOLLOW_SECONDS = 0.25


@contextlib.contextmanager
def reading(data: Path | None) -> Iterator[View]:
    """Open the data folder for reading; the block sees the newest commits."""
    with patience():
        from dangol.view import View

    view = View.open(settings_of(data).data)
    try:
        yield view
    finally:
        view.close()


@click.command()
@click.argument("customer", required=False, metavar="[ID]")
@common
@segment_option
@as_of_option
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1, 100_000), help="Rows of a list."
)
@click.option("--after", metavar="CURSOR", help="The `next` of the page before.")
def customers(
    customer: str | None, data: Path | None, as_json: bool, segment: str | None, as_of: str | None,
    limit: int, after: str | None,
) -> None:  # fmt: skip
    """Show one customer, or list them."""
    from dangol.serve.terminal import emit

    with reading(data) as view:
        if customer is not None:
            found = view.customer(customer)
            return (
                emit(found)
                if as_json
                else _show_customer(found, view.changes(customer=customer, limit=1000)[-5:])
            )
        page = view.customers(segment=segment, as_of=moment(as_of), limit=limit, after=after)
        return emit(page) if as_json else _show_page(page)


def _show_customer(row: Mapping[str, Any], moves: list[dict[str, Any]]) -> None:
    from rich.text import Text

    from dangol.serve.terminal import amount, changes_table, counted, day, segment_text, show, table

    cancels = row["cancellations"]
    made = table("", "", title=Text(f"Customer {row['customer']}"))
    made.add_row("segment", segment_text(row["segment"]))
    made.add_row("since", day(row["segment_since"]))
    made.add_row(
        "probabilities",
        "  ".join(f"{name} {row['p_' + name]:.0%}" for name in ("vip", "dormant", "mid", "low")),
    )
    if row["next_change_at"]:
        made.add_row("turns", f"{row['next_segment']} on {day(row['next_change_at'])} unless they buy")
    made.add_row("recency", "-" if row["recency_days"] is None else f"{row['recency_days']:.1f} days")
    made.add_row("frequency", counted(row["frequency"], "live invoice"))
    made.add_row("monetary", amount(row["monetary"]))
    made.add_row("last purchase", day(row["last_purchase_at"]))
    lines = counted(row["lines"], "line")
    made.add_row("seen", f"{day(row['first_line_at'])} to {day(row['last_line_at'])}, {lines}")
    made.add_row("cancellations", ", ".join(f"{count} {kind}" for kind, count in cancels.items()))
    made.add_row("country", Text(row["country"] or "-"))
    made.add_row("as of", f"{day(row['as_of'])}, model {row['model']}")
    show(made)
    if moves:
        show("", changes_table(moves))


def _show_page(page: Mapping[str, Any]) -> None:
    from dangol.serve.terminal import amount, cut, day, segment_text, show, table, wide

    numbers = ("days", "invoices", "spent")
    more = ["country"] if wide() else []
    made = table("customer", "segment", *numbers, "last bought", "next change", *more, right=numbers)
    for row in page["customers"]:
        turns = (
            f"{row['next_segment']} on {day(row['next_change_at'])[:10]}" if row["next_change_at"] else "-"
        )
        country = [cut(row["country"] or "-")] if more else []
        made.add_row(
            cut(row["customer"]),
            segment_text(row["segment"]),
            amount(row["recency_days"], 1),
            f"{row['frequency']:,}",
            amount(row["monetary"]),
            day(row["last_purchase_at"])[:10],
            turns,
            *country,
        )
    show(made)
    if page["next"]:
        show(f"More: add --after {page['next']}")


@click.command()
@common
def segments(data: Path | None, as_json: bool) -> None:
    """Show size, money and the median customer of each segment."""
    from dangol.render import iso
    from dangol.serve.terminal import day, emit, segments_table, show

    with reading(data) as view:
        rows = view.segments()
        as_of, version = iso(view.as_of), view.model()["version"]
    if as_json:
        emit({"segments": rows, "as_of": as_of, "model": version})
    else:
        show(segments_table(rows), "", f"As of {day(as_of)}, by model {version}.")


@click.command()
@common
@click.option(
    "--after", type=click.IntRange(0), metavar="SEQ", help="Begin behind this change (default: the latest)."
)
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1, 1_000_000), help="How many at most."
)
@click.option("--customer", metavar="ID", help="Only this customer's.")
@click.option("--follow", is_flag=True, help="Go on and show changes as they are committed.")
def changes(
    data: Path | None, as_json: bool, after: int | None, limit: int, customer: str | None, follow: bool
) -> None:
    """Show who changed segment, when and why: the latest, or those behind a cursor.

    With --follow and --json, each change is a JSON object on a line of its own.
    """
    from dangol.serve.terminal import changes_table, emit, show

    with reading(data) as view:
        rows = (
            _latest(view, limit, customer)
            if after is None
            else view.changes(after=after, limit=limit, customer=customer)
        )
        cursor = rows[-1]["seq"] if rows else after or 0
        if follow:
            _follow(view, rows, cursor, customer, as_json)
        elif as_json:
            emit({"changes": rows, "next": cursor})
        else:
            show(changes_table(rows))


def _latest(view: View, limit: int, customer: str | None) -> list[dict[str, Any]]:
    if customer is not None:
        return view.changes(customer=customer, limit=1_000_000)[-limit:]
    return view.changes(after=max(0, view.last_change() - limit), limit=limit)


def _follow(view: View, rows: list[dict[str, Any]], cursor: int, customer: str | None, as_json: bool) -> None:
    from dangol.serve.terminal import changes_table, emit, show

    while True:
        if as_json:
            for row in rows:
                emit(row)
        elif rows:
            show(changes_table(rows))
        cursor = rows[-1]["seq"] if rows else cursor
        time.sleep(FOLLOW_SECONDS)
        rows = view.changes(after=cursor, limit=1000, customer=customer)
