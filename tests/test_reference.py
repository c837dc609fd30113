"""The reference pages are what the program says of itself."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from dangol.serve.cli import cli
from dangol.serve.cli.reference import commands_page, settings_page

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = {"commands.md": commands_page, "settings.md": settings_page}


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_fresh(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](), "run `make docs`"


def leaves(group: click.Group) -> list[click.Command]:
    found: list[click.Command] = []
    for command in group.commands.values():
        found += leaves(command) if isinstance(command, click.Group) else [command]
    return found


def test_every_command_takes_data_and_json() -> None:
    for command in leaves(cli):
        if command.name != "bench":  # hands its arguments on
            assert {"data", "as_json"} <= {parameter.name for parameter in command.params}, command.name
