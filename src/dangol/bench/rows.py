"""One measurement beside its limit and its target, and how a table of them is written.

A verdict is a report and never an assertion: a slow machine changes the words and fails nothing.

>>> Row(case="load", what="lines a second", value=400_000.0, unit="lines/s", minimum=300_000.0).verdict
'meets'
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dangol.errors import BadFile

__all__ = ["Row", "around_table", "as_json", "as_markdown", "as_text", "dumps", "machine", "put_table"]

_BEGIN, _END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"

_COLUMNS = ("case", "what", "value", "limit", "ratio", "target", "verdict")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A value, the limit it stands beside (of the same run), and what is asked of it.

    `minimum` and `aim` bound the ratio where `of_ratio`, else the value; where `lower` is better they are
    upper bounds.
    """

    case: str
    what: str
    value: float | None
    unit: str
    limit: str = ""
    limit_value: float | None = None
    minimum: float | None = None
    aim: float | None = None
    of_ratio: bool = False
    lower: bool = False
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """The value as a multiple of the limit; None without one."""
        if self.value is None or not self.limit_value:
            return None
        return self.value / self.limit_value

    @property
    def verdict(self) -> str:
        """What to say: "meets the aim", "meets", "misses", or nothing where there is no target."""
        judged = self.ratio if self.of_ratio else self.value
        if judged is None or self.minimum is None:
            return ""
        if self.aim is not None and self._reaches(judged, self.aim):
            return "meets the aim"
        return "meets" if self._reaches(judged, self.minimum) else "misses"

    def _reaches(self, judged: float, bound: float) -> bool:
        return judged <= bound if self.lower else judged >= bound

    @property
    def target(self) -> str:
        """The target as text, such as `>= 300,000, aim 600,000 lines/s`."""
        if self.minimum is None:
            return ""
        unit = "x" if self.of_ratio else f" {self.unit}"
        aim = "" if self.aim is None else f", aim {_figure(self.aim)}"
        return f"{'<=' if self.lower else '>='} {_figure(self.minimum)}{aim}{unit}"


def machine() -> str:
    """Say in one line on what machine and with which Python this runs."""
    python = f"Python {platform.python_version()}"
    return f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, {python}"


def as_json(rows: Sequence[Row]) -> dict[str, Any]:
    """Return all rows as one JSON object."""
    told = [asdict(row) | {"ratio": row.ratio, "target": row.target, "verdict": row.verdict} for row in rows]
    return {"machine": machine(), "rows": told}


def as_text(row: Row) -> str:
    """Write one row as a line for the terminal."""
    value, limit, ratio = _cells(row)[2:5]
    parts = [
        f"{row.case:<13} {row.what}: {value}",
        f"limit {limit}" if limit else "",
        f"ratio {ratio}" if ratio else "",
        f"target {row.target}: {row.verdict or 'not measured'}" if row.target else "",
        f"({row.note})" if row.note else "",
    ]
    return "; ".join(part for part in parts if part)


def as_markdown(rows: Sequence[Row]) -> str:
    """Write a table for docs/performance.md, with the machine under it."""
    lines = ["| " + " | ".join(_COLUMNS) + " |", "|" + "---|" * len(_COLUMNS)]
    for row in rows:
        cells = _cells(row)
        cells[1] += f" ({row.note})" if row.note else ""
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join([*lines, "", f"Measured on {machine()}.", ""])


def put_table(path: Path, rows: Sequence[Row]) -> None:
    """Replace what stands between the two `measured` marks of a page; raises BadFile if it has none."""
    before, after = around_table(path)
    path.write_text(before + as_markdown(rows) + after, encoding="utf-8")


def around_table(path: Path) -> tuple[str, str]:
    """Return what stands before and behind a page's table, marks included; raises BadFile if it has none."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        marks = f"{_BEGIN.strip()} and {_END.strip()}"
        message = f"{path} is no page with the lines {marks}: name docs/performance.md"
        raise BadFile(message)
    return before + begin, end + after


def _cells(row: Row) -> list[str]:
    value = "not measured" if row.value is None else f"{_figure(row.value)} {row.unit}"
    limit = "" if row.limit_value is None else f"{row.limit}: {_figure(row.limit_value)} {row.unit}"
    ratio = "" if row.ratio is None else _figure(row.ratio)
    return [row.case, row.what, value, limit, ratio, row.target, row.verdict]


def _figure(value: float) -> str:
    """Write a number with about three digits that count."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def dumps(rows: Sequence[Row]) -> str:
    """Write all rows as one line of JSON."""
    return json.dumps(as_json(rows), ensure_ascii=False)
