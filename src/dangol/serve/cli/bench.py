"""`dangol bench`: the project's own benchmarks."""

from __future__ import annotations

import importlib
import importlib.util

import click

from dangol.errors import NotFound

__all__ = ["bench"]


@click.command(
    add_help_option=False,
    context_settings={
        "ignore_unknown_options": True,
        "allow_extra_args": True,
        "allow_interspersed_args": False,
    },
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[CASE]...")
@click.pass_context
def bench(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Measure, side by side with the machine's limits; `dangol bench --help` lists the cases."""
    if importlib.util.find_spec("dangol.bench") is None:
        message = "this installation has no benchmarks: run them from a checkout with `make bench`"
        raise NotFound(message)
    context.exit(importlib.import_module("dangol.bench.main").main(list(arguments)))
