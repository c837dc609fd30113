"""The reference pages of commands and settings, written from the program itself: `make docs`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

__all__ = ["commands_page", "settings_page"]

WRITTEN = "<!-- Written by `make docs`; change the program, not this page. -->"


def commands_page() -> str:
    """Return docs/commands.md: what each command does and takes."""
    from dangol.serve.cli import cli

    parts = [
        "# Commands",
        WRITTEN,
        "Progress and logs go to standard error, results to standard output; with `--json` a result is\n"
        "one JSON object. An error is one line on standard error. The exit code is 0 when done, 1 after a\n"
        "failure, 2 for bad usage, 130 after Ctrl-C. Every command has `--help`.",
    ]
    for command, context in _leaves(cli, click.Context(cli, info_name="dangol")):
        parts += [
            f"## {context.command_path}",
            _usage(command, context),
            *_paragraphs(command),
            _options(command),
        ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _leaves(group: click.Group, parent: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    for name in group.list_commands(parent):
        command = group.commands[name]
        context = click.Context(command, info_name=name, parent=parent)
        if isinstance(command, click.Group):
            yield from _leaves(command, context)
        elif not command.hidden:
            yield command, context


def _usage(command: click.Command, context: click.Context) -> str:
    arguments = [
        str(p.metavar or (p.name or "").upper()) for p in command.params if isinstance(p, click.Argument)
    ]
    return f"`{' '.join([context.command_path, *arguments, '[OPTIONS]'])}`"


def _paragraphs(command: click.Command) -> list[str]:
    text = inspect.cleandoc(command.help or "")
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]


def _options(command: click.Command) -> str:
    rows = [_option(p) for p in command.params if isinstance(p, click.Option)]
    return "\n".join(["| option | what it does |", "|---|---|", *rows]) if rows else ""


def _option(option: click.Option) -> str:
    value = "" if option.is_flag else " " + (option.metavar or _kind(option.type))
    default = f" (default: {option.default})" if option.show_default else ""
    return f"| `{option.opts[0]}{value}` | {option.help}{default} |"


def _kind(kind: click.types.ParamType[Any]) -> str:
    if isinstance(kind, click.Choice):
        return "/".join(kind.choices)
    return "TEXT" if kind is click.STRING else "NUMBER"


def settings_page() -> str:
    """Return docs/settings.md: one row a setting."""
    from dangol.config import settings_table

    rows = [
        f"| `{name}` | `{variable}` | {_cell(default)} | {doc} |"
        for name, variable, default, doc in settings_table()
    ]
    return "\n".join(
        [
            "# Settings",
            "",
            WRITTEN,
            "",
            "A setting's value comes from the command's flag, if it has one; else from the environment; else",
            "from the file `dangol.toml` in the working folder, or that which `DANGOL_CONFIG` names; else it",
            "is the default.",
            "",
            "| setting | environment | default | what it does |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _cell(default: str) -> str:
    return {"": "none", "None": "none"}.get(default, default if " " in default else f"`{default}`")


def write_pages(folder: Path) -> None:
    """Write both pages into `folder`."""
    for name, text in (("commands.md", commands_page()), ("settings.md", settings_page())):
        (folder / name).write_text(text, encoding="utf-8")
        click.echo(f"Wrote {folder / name}.")


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
