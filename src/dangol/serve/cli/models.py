"""`dangol fit` and `dangol model`: a model's life."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dangol.errors import NotFound
from dangol.serve.cli.app import common, engine_on, load_kernels, settings_of
from dangol.serve.cli.looking import reading

if TYPE_CHECKING:
    from rich.table import Table

    from dangol.view import View

__all__ = ["fit", "model"]


@click.command()
@common
@click.option("--promote", is_flag=True, help="Judge all customers by it at once.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the fit's random starts."
)
def fit(data: Path | None, as_json: bool, promote: bool, seed: int) -> None:
    """Fit a new model on all customers with a live invoice; it stays a candidate without --promote."""
    from dangol.serve.terminal import emit, show

    settings = _settings(data)
    with engine_on(settings) as engine:
        fitted = engine.fit(promote=False, seed=seed)
        moved = engine.promote(fitted.version) if promote else None
        customers = fitted.fitted_on.customers if fitted.fitted_on else 0
    if as_json:
        return emit({"version": fitted.version, "customers": customers, "promoted": promote, "moved": moved})
    if promote:
        show(
            f"Model {fitted.version}, fitted on {customers:,} customers, is live: {moved:,} changed segment."
        )
    else:
        show(
            f"Model {fitted.version}, fitted on {customers:,} customers, is a candidate. "
            f"See `dangol model report`, then `dangol model promote {fitted.version}`."
        )
    return None


def _settings(data: Path | None) -> Any:
    load_kernels()
    from dangol.view import View

    settings = settings_of(data)
    View.open(settings.data).close()  # an empty folder is not made into a data folder here
    return settings


@click.group()
def model() -> None:
    """List, show, compare, promote and roll back models."""


@model.command("list")
@common
def list_models(data: Path | None, as_json: bool) -> None:
    """List all models, newest first."""
    from dangol.serve.terminal import day, emit, show, table

    with reading(data) as view:
        rows = view.models()
    if as_json:
        return emit({"models": rows})
    made = table("version", "status", "kind", "made", right=("version",))
    for row in rows:
        made.add_row(str(row["version"]), row["status"], row["kind"], day(row["created_at"]))
    return show(made)


@model.command("show")
@click.argument("version", required=False, type=int)
@common
def show_model(version: int | None, data: Path | None, as_json: bool) -> None:
    """Show a model's card: the live one's, if no VERSION is named."""
    from dangol.serve.terminal import emit, show

    with reading(data) as view:
        card = view.model(version)
    if as_json:
        return emit(card)
    return show(
        f"Model {card['version']} ({card['kind']}, {card['status']})", "", _centres_table(_centres(card))
    )


@model.command("report")
@click.argument("version", required=False, type=int)
@common
def report_model(version: int | None, data: Path | None, as_json: bool) -> None:
    """Compare the newest candidate, or VERSION, with the live model: sizes, centres, who would move."""
    from dangol.serve.terminal import counted, emit, show

    with reading(data) as view:
        live, other = view.model(), view.model(_candidate(view) if version is None else version)
        moves = _moves(view, live, other)
    report = {
        "live": live["version"],
        "candidate": other["version"],
        "moved": sum(move["customers"] for move in moves if move["before"] != move["after"]),
        "moves": moves,
        "centres": {"live": _centres(live), "candidate": _centres(other)},
    }
    if as_json:
        return emit(report)
    show(f"Live: model {live['version']}", _centres_table(report["centres"]["live"]), "")
    show(f"Candidate: model {other['version']}", _centres_table(report["centres"]["candidate"]), "")
    return show(_moves_table(moves), "", f"{counted(report['moved'], 'customer')} would change segment.")


def _candidate(view: View) -> int:
    for row in view.models():
        if row["status"] == "candidate":
            return int(row["version"])
    message = "there is no candidate to compare with the live model: `dangol fit` makes one"
    raise NotFound(message)


def _moves(view: View, live: Mapping[str, Any], other: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Count the customers by segment under one model and under the other, as of now."""
    import numpy as np

    from dangol.core.features import Rfm
    from dangol.core.schema import MICROS, NEVER, SEGMENTS
    from dangol.core.score import score_rfm

    table, as_of = view.export(), view.as_of
    if as_of is None:
        return []
    moments = table.column("last_purchase_at").cast("int64").fill_null(NEVER).to_numpy()
    money = np.rint(table.column("monetary").to_numpy() * MICROS).astype(np.int64)
    rfm = Rfm(moments, table.column("frequency").to_numpy(), money)
    before, after = (score_rfm(rfm, as_of, _model(card)).segment.astype(np.int64) for card in (live, other))
    counts = np.bincount(before * len(SEGMENTS) + after, minlength=len(SEGMENTS) ** 2).tolist()
    return [
        {"before": SEGMENTS[n // len(SEGMENTS)], "after": SEGMENTS[n % len(SEGMENTS)], "customers": count}
        for n, count in enumerate(counts)
        if count
    ]


def _model(card: Mapping[str, Any]) -> Any:
    from dangol.core.model_card import from_json

    return from_json(json.dumps({name: value for name, value in card.items() if name != "status"}))


def _centres(card: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return each group's centre in days, invoices and money, and its share of the customers."""
    import math

    return {
        name: {
            "recency_days": round(math.expm1(group["mean"][0]), 1),
            "frequency": round(math.exp(group["mean"][1]), 2),
            "monetary": round(math.exp(group["mean"][2]), 2),
            "weight": round(group["weight"], 4),
        }
        for name, group in card["groups"].items()
    }


def _centres_table(centres: Mapping[str, Mapping[str, float]]) -> Table:
    from dangol.serve.terminal import amount, segment_text, table

    numbers = ("share", "recency days", "frequency", "monetary")
    made = table("segment", *numbers, right=numbers)
    for name, centre in centres.items():
        made.add_row(
            segment_text(name), f"{centre['weight']:.1%}", amount(centre["recency_days"], 1),
            amount(centre["frequency"]), amount(centre["monetary"]),
        )  # fmt: skip
    return made


def _moves_table(moves: Sequence[Mapping[str, Any]]) -> Table:
    from dangol.serve.terminal import segment_text, table

    made = table("by the live model", "by the candidate", "customers", right=("customers",))
    for move in moves:
        style = "" if move["before"] != move["after"] else "dim"
        made.add_row(
            segment_text(move["before"]), segment_text(move["after"]), f"{move['customers']:,}", style=style
        )
    return made


@model.command("promote")
@click.argument("version", type=int)
@common
def promote_model(version: int, data: Path | None, as_json: bool) -> None:
    """Judge all customers by model VERSION from now on."""
    _promote(data, as_json, version)


@model.command("rollback")
@common
def rollback_model(data: Path | None, as_json: bool) -> None:
    """Go back to the model before the live one."""
    with reading(data) as view:
        live = view.model()["version"]
        past = [row["version"] for row in view.models() if row["status"] == "past"]
    earlier = [version for version in past if version < live]
    if not earlier:
        message = f"model {live} is live and none was before it: `dangol model list` shows those there are"
        raise NotFound(message)
    _promote(data, as_json, max(earlier))


def _promote(data: Path | None, as_json: bool, version: int) -> None:
    from dangol.serve.terminal import counted, emit, show

    with engine_on(_settings(data)) as engine:
        before = engine.pipeline.book.model.version
        moved = engine.promote(version)
    if as_json:
        emit({"version": version, "before": before, "moved": moved})
    else:
        moves = counted(moved, "customer")
        show(f"Model {version} is live, model {before} was: {moves} changed segment.")
