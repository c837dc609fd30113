"""`dangol` and `python -m dangol`: the command line."""

from __future__ import annotations

from dangol.serve.cli import cli

__all__ = ["main"]


def main() -> None:
    """Run the command that the arguments name, and exit with its code."""
    cli.main(prog_name="dangol")


if __name__ == "__main__":
    main()
