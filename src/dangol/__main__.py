"""`dangol` and `python -m dangol`: the command line."""

from __future__ import annotations

import gc

gc.disable()  # until a data folder is open: collecting during the imports takes a fifth of a second

from dangol.serve.cli import cli  # noqa: E402

__all__ = ["main"]


def main() -> None:
    """Run the command that the arguments name, and exit with its code."""
    cli.main(prog_name="dangol")


if __name__ == "__main__":
    main()
