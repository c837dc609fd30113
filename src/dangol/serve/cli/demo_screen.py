"""What the demo shows while lines flow: a bar, rate and delay, segment sizes, and who has just moved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from rich.console import ConsoleRenderable, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dangol.render import SEGMENT_NAMES
from dangol.serve.cli.app import say
from dangol.serve.terminal import COLOURS, amount, changes_table, counted, day, screen

__all__ = ["DemoScreen", "Moment", "show_while"]

BAR_WIDTH = 30
SECONDS_PER_LINE = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One look: the server's status (`/v1/status`), what the simulator does, and the latest changes."""

    status: Mapping[str, Any]
    simulator: Mapping[str, Any]
    changes: list[dict[str, Any]]
    seconds: float


class DemoScreen(Protocol):
    """Shows one moment after the other."""

    def show(self, moment: Moment) -> None:
        """Show this moment in place of the one before."""
        ...


@contextmanager
def show_while(url: str, lines: int | None) -> Iterator[DemoScreen]:
    """Give a screen for the block: one that is drawn anew on a terminal, else a line now and then."""
    console = screen(errors=True)
    if not console.is_terminal:
        yield _Lines(lines)
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield _Drawn(live, url, lines)


@dataclass(slots=True)
class _Lines:
    lines: int | None
    next_at: float = field(default=SECONDS_PER_LINE)

    def show(self, moment: Moment) -> None:
        """Write a line, if the last one is long enough ago."""
        if moment.seconds < self.next_at:
            return
        self.next_at = moment.seconds + SECONDS_PER_LINE
        status, sent = moment.status, moment.simulator["acknowledged"]
        share = f" ({sent / self.lines:.0%})" if self.lines else ""
        sizes = "  ".join(
            f"{name} {part['customers']:,}" for name, part in status["segments"].items() if name != "none"
        )
        rate = moment.simulator["lines_per_second"]
        say(
            f"{moment.seconds:4.0f} s  {sent:>9,} lines{share}  {rate:,.0f}/s  "
            f"delay p99 {amount(status['delay_p99_ms'], 1)} ms  shop time {day(status['clock'])}  {sizes}"
        )


@dataclass(slots=True)
class _Drawn:
    live: Live
    url: str
    lines: int | None

    def show(self, moment: Moment) -> None:
        """Draw the moment."""
        parts: list[ConsoleRenderable] = [self._head(moment), Text(), self._segments(moment.status), Text()]
        if moment.changes:
            parts += [Text("Who moved last", style="bold"), changes_table(moment.changes[::-1])]
        self.live.update(Group(*parts), refresh=True)

    def _head(self, moment: Moment) -> Table:
        status, simulator = moment.status, moment.simulator
        done = simulator["acknowledged"]
        head = Table.grid(padding=(0, 2))
        head.add_row(
            Text("lines", style="dim"),
            ProgressBar(total=self.lines, completed=done, width=BAR_WIDTH),
            self._progress(done, moment),
        )
        head.add_row(
            Text("rate", style="dim"), f"{simulator['lines_per_second']:,.0f} lines a second",
            f"delay p99 {amount(status['delay_p99_ms'], 1)} ms until durable",
        )  # fmt: skip
        head.add_row(
            Text("shop time", style="dim"), day(status["clock"]),
            f"{counted(status['customers'], 'customer')}, {status['live_customers']:,} live",
        )  # fmt: skip
        model = status["model"]
        judged = (
            "the starting model" if model["starting"] else f"model {model['version']}, fitted on this shop"
        )
        head.add_row(
            Text("judged by", style="dim"),
            judged,
            counted(status["changes"], "change of segment", "changes of segment"),
        )
        head.add_row(Text("page", style="dim"), Text(self.url, style="underline"), "Ctrl-C ends")
        return head

    def _progress(self, done: int, moment: Moment) -> str:
        if not self.lines:
            return f"{done:,}"
        rate = moment.simulator["lines_per_second"]
        left = f", {(self.lines - done) / rate:,.0f} s left" if rate and done < self.lines else ""
        return f"{done:,} of {self.lines:,}{left}"

    def _segments(self, status: Mapping[str, Any]) -> Table:
        made = Table.grid(padding=(0, 2))
        for name, part in status["segments"].items():
            if name == "none":
                continue
            colour = COLOURS[name]
            bar = ProgressBar(
                total=1.0,
                completed=part["share"],
                width=BAR_WIDTH,
                complete_style=colour,
                finished_style=colour,
            )
            korean, english = SEGMENT_NAMES[name]
            made.add_row(Text(name, style=colour), bar, f"{part['customers']:>6,}", f"{english} · {korean}")
        return made
