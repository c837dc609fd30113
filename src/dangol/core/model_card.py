"""The model as a frozen value, and as plain JSON.

    >>> model = starting_model()
    >>> from_json(to_json(model)) == model
    True

The JSON holds everything that a verdict depends on, by segment name and never by component index. Floats
are written with all their digits, so that a model read back judges exactly as the one that was written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal, cast

import numpy as np

from dangol.core.features import FEATURES, Floats
from dangol.core.schema import SEGMENTS
from dangol.errors import BadFile, FolderTooNew

__all__ = ["FORMAT", "FittedOn", "Group", "Model", "from_json", "starting_model", "to_json"]

FORMAT = 1
"""The layout of the JSON; raised when an older program could no longer read it."""

Kind = Literal["starting", "fitted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One component of the mixture: its share of the customers, its centre and its spread (3 x 3)."""

    weight: float
    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedOn:
    """What a model was fitted on: customers with a live invoice, their moment (µs), and accepted lines."""

    customers: int
    as_of: int
    lines: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A Gaussian mixture with a group for each segment, and where it comes from.

    `groups` has the order of `SEGMENTS[1:]`; `params` is the same in the form that the kernels read.
    `version` 0 means that the engine has not numbered it (the starting model stays 0).
    """

    groups: tuple[Group, ...]
    monetary_floor: float
    kind: Kind = "fitted"
    version: int = 0
    created_at: int | None = None
    fitted_on: FittedOn | None = None
    seed: int | None = None
    source: str = ""
    params: Floats = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check(self)
        params = np.array([_packed(group) for group in self.groups])
        params.flags.writeable = False
        object.__setattr__(self, "params", params)

    @property
    def starting(self) -> bool:
        """Whether this is the built-in model, not fitted on the user's own customers."""
        return self.kind == "starting"


def _packed(group: Group) -> Floats:
    """Return a row of the kernels' matrix: mean, inverse Cholesky factor row by row, log-density constant."""
    factor = np.linalg.cholesky(np.array(group.covariance))
    log_root = np.log(np.diag(factor)).sum()
    constant = np.log(group.weight) - 1.5 * np.log(2 * np.pi) - log_root
    return np.concatenate([group.mean, np.linalg.inv(factor)[np.tril_indices(3)], [constant]])


def _check(model: Model) -> None:
    if len(model.groups) != len(SEGMENTS) - 1:
        _refuse(f"it has {len(model.groups)} groups instead of {len(SEGMENTS) - 1}")
    if not (np.isfinite(model.monetary_floor) and model.monetary_floor > 0):
        _refuse(f"monetary_floor is {model.monetary_floor}, not above 0")
    if model.kind not in ("starting", "fitted"):
        _refuse(f"kind is {model.kind!r}, not 'starting' or 'fitted'")
    for name, group in zip(SEGMENTS[1:], model.groups, strict=True):
        _check_group(name, group)
    if abs(sum(group.weight for group in model.groups) - 1) > 1e-6:
        _refuse("the weights do not add up to 1")


def _check_group(name: str, group: Group) -> None:
    mean, covariance = np.array(group.mean), np.array(group.covariance)
    if mean.shape != (3,) or covariance.shape != (3, 3):
        _refuse(f"group {name}: the mean needs 3 numbers and the covariance 3 rows of 3")
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all() and 0 < group.weight <= 1):
        _refuse(f"group {name}: a number is not finite, or the weight is not above 0 and up to 1")
    if not np.allclose(covariance, covariance.T, rtol=1e-9, atol=0) or np.linalg.eigvalsh(covariance)[0] <= 0:
        _refuse(f"group {name}: the covariance is not symmetric and positive definite")


def _refuse(reason: str) -> None:
    message = f"model cannot be used: {reason}; fit it again or restore the file"
    raise BadFile(message)


def to_json(model: Model) -> str:
    """Return the model as JSON text, ending in a line feed."""
    fitted_on = model.fitted_on
    card = {
        "format": FORMAT,
        "kind": model.kind,
        "version": model.version,
        "created_at": _iso(model.created_at),
        "fitted_on": fitted_on
        and {"customers": fitted_on.customers, "as_of": _iso(fitted_on.as_of), "lines": fitted_on.lines},
        "seed": model.seed,
        "source": model.source,
        "features": {"names": list(FEATURES), "monetary_floor": model.monetary_floor},
        "groups": {
            name: {
                "weight": g.weight,
                "mean": list(g.mean),
                "covariance": [list(row) for row in g.covariance],
            }
            for name, g in zip(SEGMENTS[1:], model.groups, strict=True)
        },
    }
    return json.dumps(card, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: str) -> Model:
    """Read a model back from its JSON text; what is wrong with it is said in a `BadFile`."""
    card = _object(text)
    if card.get("format") != FORMAT:
        _refuse_format(card.get("format"))
    try:
        model = _read(card)
    except KeyError as error:
        message = f"model cannot be read: {error.args[0]!r} is missing; fit it again or restore the file"
        raise BadFile(message) from None
    except (TypeError, ValueError, AttributeError) as error:
        message = f"model cannot be read: {error}; fit it again or restore the file"
        raise BadFile(message) from None
    return model


def _object(text: str) -> dict[str, Any]:
    try:
        card = json.loads(text)
    except ValueError as error:
        message = f"model cannot be read: not JSON ({error}); fit it again or restore the file"
        raise BadFile(message) from None
    if not isinstance(card, dict):
        message = "model cannot be read: not a JSON object; fit it again or restore the file"
        raise BadFile(message)
    return card


def _refuse_format(found: object) -> None:
    if isinstance(found, int) and found > FORMAT:
        message = f"model has format {found}, and this program reads up to {FORMAT}; install a newer dangol"
        raise FolderTooNew(message)
    message = f"model cannot be read: format is {found!r}, not {FORMAT}; fit it again or restore the file"
    raise BadFile(message)


def _read(card: Mapping[str, Any]) -> Model:
    if tuple(card["features"]["names"]) != FEATURES:
        message = f"features are {card['features']['names']}, not {list(FEATURES)}"
        raise ValueError(message)
    fitted_on = card["fitted_on"]
    return Model(
        groups=tuple(_group(card["groups"][name]) for name in SEGMENTS[1:]),
        monetary_floor=float(card["features"]["monetary_floor"]),
        kind=cast("Kind", card["kind"]),
        version=int(card["version"]),
        created_at=_micros(card["created_at"]),
        fitted_on=fitted_on
        and FittedOn(
            customers=int(fitted_on["customers"]),
            as_of=cast("int", _micros(fitted_on["as_of"])),
            lines=int(fitted_on["lines"]),
        ),
        seed=card["seed"],
        source=str(card["source"]),
    )


def _group(card: Mapping[str, Any]) -> Group:
    return Group(
        weight=float(card["weight"]),
        mean=tuple(float(x) for x in card["mean"]),
        covariance=tuple(tuple(float(x) for x in row) for row in card["covariance"]),
    )


def _iso(at: int | None) -> str | None:
    if at is None:
        return None
    return str(np.datetime64(at, "us")).removesuffix(".000000") + "Z"


def _micros(text: str | None) -> int | None:
    if text is None:
        return None
    return int(np.datetime64(text.removesuffix("Z"), "us").astype(np.int64))


def starting_model() -> Model:
    """Return the built-in model, which serves while a shop has too few customers for a fit of its own."""
    return from_json(resources.files("dangol").joinpath("rules/starting_model.json").read_text("utf-8"))
