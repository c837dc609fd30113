"""A model's life in the store: the starting model, fitted candidates, and which one is live."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dangol.adapters.local import LocalStore
from dangol.book import Book
from dangol.core.changes import moves_by_model
from dangol.core.features import Rfm, features, monetary_floor
from dangol.core.mixture import fit
from dangol.core.model_card import FittedOn, Model, from_json, starting_model, to_json
from dangol.core.schema import NEVER
from dangol.errors import FitRefused, NotFound
from dangol.pipeline import Pipeline

__all__ = ["ensure_model", "fit_model", "promote_model", "wants_first_fit"]


def ensure_model(store: LocalStore, now: int) -> None:
    """Put the built-in starting model into a new folder, as version 0."""
    if store.database.execute("SELECT 1 FROM models").fetchone() is None:
        with store.transaction() as database:
            database.execute("INSERT INTO models VALUES (0, ?, 'live', ?)", (now, to_json(starting_model())))


def wants_first_fit(book: Book, threshold: int) -> bool:
    """Tell whether a first model is due, or twice as many customers are live as the live one was fitted on."""
    fitted_on = book.model.fitted_on if not book.model.starting else None
    needed = threshold if fitted_on is None else 2 * fitted_on.customers
    if book.count < needed or book.fit_refused_at * 5 // 4 > book.count:
        return False
    return int((book.states["frequency"] > 0).sum()) >= needed


def fit_model(pipeline: Pipeline, now: int, *, promote: bool, seed: int = 0) -> Model:
    """Fit a candidate on all customers as of the engine's clock, and promote it if asked.

    Raises FitRefused, and leaves the live model as it was, when the fit fails its checks.
    """
    book = pipeline.book
    states = book.states
    live = states[(states["frequency"] > 0) & (states["alive"] == 1)]
    if not len(live) or book.clock == NEVER:
        message = (
            "no customer has a live invoice, so there is nothing to fit a model on: load purchases first"
        )
        raise FitRefused(message)
    rfm = Rfm.of(live)
    floor = monetary_floor(rfm)
    fitted_on = FittedOn(customers=len(live), as_of=book.clock, lines=int(live["lines"].sum()))
    try:
        model = fit(
            features(rfm, book.clock, monetary_floor=floor),
            seed=seed,
            monetary_floor=floor,
            fitted_on=fitted_on,
            created_at=now,
        )
    except FitRefused:
        book.fit_refused_at = book.count
        raise
    with pipeline.store.transaction() as database:
        version = int(database.execute("SELECT max(version) FROM models").fetchone()[0]) + 1
        model = replace(model, version=version)
        database.execute("INSERT INTO models VALUES (?, ?, 'candidate', ?)", (version, now, to_json(model)))
    if promote:
        promote_model(pipeline, version)
    return model


def promote_model(pipeline: Pipeline, version: int) -> int:
    """Make a stored model the live one in one commit; return how many customers changed segment."""
    book, database = pipeline.book, pipeline.store.database
    row = database.execute("SELECT card FROM models WHERE version = ?", (version,)).fetchone()
    if row is None:
        message = f"there is no model {version}: `dangol model list` shows those there are"
        raise NotFound(message)
    model = replace(from_json(row[0]), version=version)
    slots = np.flatnonzero(book.states["alive"] == 1)
    rows = book.rows(slots)
    status = {book.model.version: "past", version: "live"}
    moves = moves_by_model(slots, rows, book.clock, model)
    pipeline.commit_moves(slots, rows, moves, clock=book.clock, model_status=status, model_version=version)
    pipeline.book.model = model
    return len(moves)
