"""What a person sees: consoles, progress bars, numbers and tables."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, JustifyMethod
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

__all__ = [
    "COLOURS",
    "amount",
    "changes_table",
    "counted",
    "counts_table",
    "cut",
    "day",
    "emit",
    "progress_bars",
    "quantity",
    "screen",
    "segment_text",
    "segments_table",
    "show",
    "table",
    "wide",
]

COLOURS = {"vip": "magenta", "dormant": "yellow", "mid": "cyan", "low": "blue", "none": "bright_black"}
PIPED_WIDTH = 200
WIDE = 105
CUT, CUT_WIDE = 20, 40
"""Columns that an id or a name may take in a table, and where there is room for more."""

Advance = Callable[[int, int | None], None]


def emit(value: Mapping[str, Any]) -> None:
    """Write one JSON object to standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def screen(*, errors: bool = False) -> Console:
    """Return a console on standard output, or error; what is piped on is not cut to a width."""
    console = Console(stderr=errors, highlight=False)
    return console if console.is_terminal else Console(stderr=errors, highlight=False, width=PIPED_WIDTH)


def show(*parts: Any) -> None:
    """Write tables or text to standard output."""
    console = screen()
    for part in parts:
        console.print(part)


class _Rate(ProgressColumn):
    """Lines (or bytes) a second, over the whole run."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        unit = str(task.fields.get("unit", ""))
        return Text("" if speed is None else f"{quantity(speed, unit)}/s", style="green")


class _Done(ProgressColumn):
    """How much of how much."""

    def render(self, task: Task) -> Text:
        unit = str(task.fields.get("unit", ""))
        total = "" if task.total is None else f" of {quantity(task.total, unit)}"
        return Text(quantity(task.completed, unit) + total)


def quantity(value: float, unit: str) -> str:
    """Write a number with its unit; bytes as MB."""
    if unit == "bytes":
        return f"{value / 1e6:,.1f} MB"
    number = f"{value:,.0f}"
    return f"{number} {unit.removesuffix('s') if number == '1' else unit}".rstrip()


def counted(count: int, one: str, more: str | None = None) -> str:
    """Write how many of something: 1 line, 2 lines; `more` if it is not `one` with an s."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


@contextlib.contextmanager
def progress_bars() -> Iterator[Callable[[str, str], Advance]]:
    """Show bars on standard error while the block runs, each from its first advance on.

    Gives a function that takes (label, unit) and returns one that takes (done, total or None). Nothing is
    drawn where standard error is no terminal.
    """
    console = screen(errors=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        _Done(),
        _Rate(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:

        def bar(label: str, unit: str) -> Advance:
            task = progress.add_task(label, total=None, start=False, visible=False, unit=unit)

            def advance(done: int, total: int | None) -> None:
                progress.start_task(task)
                progress.update(task, completed=done, total=total, visible=True)

            return advance

        yield bar


def table(*columns: str, title: str | Text | None = None, right: Sequence[str] = ()) -> Table:
    """Return an empty table; the columns named in `right` hold numbers; only the last one may wrap."""
    made = Table(
        title=title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False
    )
    for place, column in enumerate(columns):
        justify: JustifyMethod = "right" if column in right else "left"
        made.add_column(column, justify=justify, no_wrap=column in right or place < len(columns) - 1)
    return made


def amount(value: float | None, digits: int = 2) -> str:
    """Write a number for people."""
    return "-" if value is None else f"{value:,.{digits}f}"


def cut(text: str) -> Text:
    """Write an id or a name for a table: what is too long ends in an ellipsis."""
    made = Text(text)
    made.truncate(CUT_WIDE if wide() else CUT, overflow="ellipsis")
    return made


def day(text: str | None) -> str:
    """Write a JSON time as date and minute."""
    return "-" if text is None else text[:16].replace("T", " ")


def segment_text(name: str | None) -> Text:
    """Write a segment in its colour."""
    return Text("-" if name is None else name, style=COLOURS.get(name or "", ""))


def wide() -> bool:
    """Tell whether there is room for more than what is needed."""
    return screen().width >= WIDE


def segments_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return sizes, money and the median customer of each segment; names too, where there is room."""
    numbers = (
        "customers",
        "share",
        "monetary",
        "of all",
        "median\ndays",
        "median\ninvoices",
        "median\nspent",
    )
    named = ["name"] if wide() else []
    made = table("segment", *named, *numbers, title="Segments", right=numbers)
    for row in rows:
        name = [f"{row['name_en']} · {row['name_ko']}"] if named else []
        made.add_row(
            segment_text(row["segment"]),
            *name,
            f"{row['customers']:,}",
            f"{row['share']:.1%}",
            amount(row["monetary"], 0),
            f"{row['monetary_share']:.1%}",
            amount(row["recency_days_median"], 1),
            amount(row["frequency_median"], 1),
            amount(row["monetary_median"]),
        )
    return made


def changes_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return who moved, when and why, one a line: what does not fit is cut."""
    made = table("seq", "at", "customer", "before", "after", "why", right=("seq",))
    for row in rows:
        made.add_row(
            str(row["seq"]),
            day(row["at"]),
            cut(row["customer"] or "(erased)"),
            segment_text(row["before"]),
            segment_text(row["after"]),
            Text(_why(row), no_wrap=True, overflow="ellipsis"),
        )
    return made


def _why(row: Mapping[str, Any]) -> str:
    events = row["events"]
    if not events:
        return str(row["cause"])
    return f"{counted(len(events), 'line')}, {events[0]}"


def counts_table(result: Mapping[str, Any]) -> Table:
    """Return what became of the lines of a run: events = accepted + anonymous + rejected + duplicates."""
    made = table("", "lines", title="Lines", right=("lines",))
    rejected = result["rejected"]
    made.add_row("accepted", f"{result['accepted']:,}")
    made.add_row("anonymous (no customer)", f"{result['anonymous']:,}")
    made.add_row("rejected", f"{sum(rejected.values()):,}")
    for reason, count in sorted(rejected.items(), key=lambda item: -item[1]):
        made.add_row(f"  {reason}", f"{count:,}", style="dim")
    made.add_row("duplicates", f"{result['duplicates']:,}")
    made.add_row("all", f"{result['events']:,}", style="bold")
    return made
