"""The command line: each module holds the commands of one theme.

What is heavy to import (the engine, Arrow, DuckDB, numba) is imported inside the commands, so that
`dangol --help` answers at once.
"""

from __future__ import annotations

import click

from dangol import __version__
from dangol.serve.cli.app import Doors
from dangol.serve.cli.bench import bench
from dangol.serve.cli.data import data
from dangol.serve.cli.demo import demo
from dangol.serve.cli.exporting import export
from dangol.serve.cli.keeping import erase, rejects, verify
from dangol.serve.cli.loading import load
from dangol.serve.cli.looking import changes, customers, segments
from dangol.serve.cli.models import fit, model
from dangol.serve.cli.serving import replay, serve

__all__ = ["cli"]


@click.group(cls=Doors, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="dangol", message="%(prog)s %(version)s")
def cli() -> None:
    """Keep every customer's RFM and segment current to the second, from a shop's purchase stream.

    \b
    Try it:    dangol demo
    Your own:  dangol load FILE, then dangol segments, dangol export customers --out FILE
    """  # noqa: D301  (click wants the backspace itself)


for command in (
    demo, load, serve, replay,
    customers, segments, changes, export,
    fit, model, rejects, verify, erase,
    data, bench,
):  # fmt: skip
    cli.add_command(command)
