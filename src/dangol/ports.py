"""The whole boundary between dangol's logic and the world: what each adapter must promise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from dangol.core.schema import Cleansed, LineBlock

__all__ = ["Clock", "Source", "SqlEngine"]


@runtime_checkable
class SqlEngine(Protocol):
    """Runs the cleanse file on a block. Called once a batch, from one thread at a time; keeps nothing.

    The same lines give the same verdicts however they are split into batches. A rule that cannot be
    run raises `BadRule`, naming the place in the file, when the engine is made and not while lines come.
    """

    @property
    def input_fields(self) -> tuple[str, ...]:
        """The names of the input fields that the rule file reads, as it spells them."""
        ...

    def input_name(self, column: str) -> str:
        """Return the input field behind an output column such as `customer` ("" if there is no single one)."""
        ...

    def cleanse(self, block: LineBlock) -> Cleansed:
        """Judge each line of `block`: accepted or anonymous into `lines`, all others into `rejects`."""
        ...


@runtime_checkable
class Source(Protocol):
    """Gives blocks of lines in order. Called from the engine's thread.

    Reading never moves the position: a block's position is committed by the engine in the transaction
    that holds its lines, and reading starts again after the last committed position.
    """

    @property
    def name(self) -> str:
        """The key under which the position is stored."""
        ...

    def blocks(self, fields: tuple[str, ...], after: str | None) -> Iterator[tuple[LineBlock, str]]:
        """Yield (block, position behind it), beginning behind `after` (None: at the start)."""
        ...


@runtime_checkable
class Clock(Protocol):
    """Tells the engine's time, in microseconds since 1970 UTC."""

    def now(self) -> int:
        """Return the present moment."""
        ...
